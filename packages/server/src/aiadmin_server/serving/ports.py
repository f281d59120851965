"""What the API needs of the rest of the server, as protocols.

`routing.router.Router` fits, and so does a small fake.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from aiadmin_core.backend import Engine
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec


class Lease(Protocol):
    """An engine that stays loaded until it is given back."""

    @property
    def engine(self) -> Engine: ...
    @property
    def spec(self) -> ModelSpec: ...
    @property
    def resolved(self) -> str:
        """The model behind the name that was asked for, as `aiadmin list` shows it."""

    @property
    def backend(self) -> str: ...


class LoadedModel(Protocol):
    """One engine, as `aiadmin ps` shows it."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def state(self) -> str:
        """ "starting", "ready" or "stopping"."""

    @property
    def pid(self) -> int | None: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def facts(self) -> ModelFacts: ...
    @property
    def stats(self) -> EngineStats: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def n_active(self) -> int:
        """Requests that hold a lease or wait for one."""

    @property
    def expires_at(self) -> float | None:
        """When it will be unloaded if nobody asks: Unix seconds; None while in use, or never."""

    @property
    def capabilities(self) -> Capabilities | None:
        """None while it is on its way in or out."""


class Router(Protocol):
    """Who serves which model."""

    def lease(self, name: str, keep_alive_s: float | None = None) -> AbstractAsyncContextManager[Lease]: ...
    def loaded(self) -> Sequence[LoadedModel]: ...
    async def unload(self, name: str) -> bool: ...
    def deaths(self) -> Mapping[str, int]:
        """How many runners ended without being asked to, by the name of their model."""

    def health(self) -> Sequence[str]:
        """What is wrong, a sentence each; empty while requests can be served."""

    async def close(self) -> None: ...


RouterDependency = NamedDependency[SkipValidation[Router]]
"""How a handler asks for the router; Litestar would check at each request whether it is one."""
