"""What a route handler may ask for by name: `resolver`, `router`, `service`, `settings`. Litestar would check at each
request what they are."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ..routing.resolver import Resolver
from ..settings import Settings
from .ports import RouterPort
from .work import Service

ResolverDependency = NamedDependency[SkipValidation[Resolver]]
"""`resolver`: which models there are, and what a name stands for."""
RouterDependency = NamedDependency[SkipValidation[RouterPort]]
"""`router`: who serves which model."""
ServiceDependency = NamedDependency[SkipValidation[Service]]
"""`service`: carries calls out."""
SettingsDependency = NamedDependency[SkipValidation[Settings]]
"""`settings`: of this server."""
