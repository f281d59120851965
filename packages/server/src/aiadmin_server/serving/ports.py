"""What `serving` and `apis` need of `routing`: `routing.router.Router` fits, and so does a small fake."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import NamedAdapter

from ..routing.affinity import Beginning
from ..routing.entry import Lease, LoadedModel
from ..routing.fallbacks import Fallback
from ..routing.reasons import Departure


class RouterPort(Protocol):
    """Who serves which model."""

    def lease(
        self,
        name: str,
        keep_alive_s: float | None = None,
        *,
        options: EngineOptions | None = None,
        lora: Sequence[NamedAdapter] | None = None,
        n_requests: int = 1,
        asked_by: str = "",
        begins: Callable[[], Sequence[Beginning]] = tuple,
        failures: tuple[AiAdminError, ...] = (),
    ) -> AbstractAsyncContextManager[Lease]:
        """`options`: how to open the model, `lora`: the adapters to apply, where a request says; `n_requests`: how many
        requests it will be; `begins`: how the prompt begins, asked where several engines could read it;
        `failures`: why what was leased before for this name did not answer."""

    def loaded(self) -> Sequence[LoadedModel]: ...
    def departed(self) -> Sequence[Departure]:
        """The last models that went, and why, the latest first."""

    def fallbacks(self) -> Sequence[Fallback]:
        """The last names that were answered by another model than they stand for, the latest first."""

    async def refresh(self) -> None:
        """Look again whether the names of what is loaded still stand for it."""

    async def unload(self, name: str) -> bool: ...
    def deaths(self) -> Mapping[str, int]:
        """How many runners ended without being asked to, by the name of their model."""

    def health(self) -> Sequence[str]:
        """What is wrong, a sentence each; empty while requests can be served."""

    async def close(self) -> None: ...
