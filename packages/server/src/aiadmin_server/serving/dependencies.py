"""What a route handler may ask for by name: `router`, `service`. Litestar would check at each request what they are."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from .ports import RouterPort
from .work import Service

RouterDependency = NamedDependency[SkipValidation[RouterPort]]
"""`router`: who serves which model."""
ServiceDependency = NamedDependency[SkipValidation[Service]]
"""`service`: carries calls out."""
