"""What `serving` and `apis` need of `routing`: `routing.router.Router` fits, and so does a small fake."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..routing.entry import Lease, LoadedModel


class RouterPort(Protocol):
    """Who serves which model."""

    def lease(self, name: str, keep_alive_s: float | None = None) -> AbstractAsyncContextManager[Lease]: ...
    def loaded(self) -> Sequence[LoadedModel]: ...
    async def unload(self, name: str) -> bool: ...
    def deaths(self) -> Mapping[str, int]:
        """How many runners ended without being asked to, by the name of their model."""

    def health(self) -> Sequence[str]:
        """What is wrong, a sentence each; empty while requests can be served."""

    async def close(self) -> None: ...
