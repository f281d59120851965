"""What a name was resolved to: made by the resolver, served by the router."""

import asyncio
from typing import Any

from msgspec import Struct

from aiadmin_core.specs.model import EngineOptions, ModelSpec

from ..store.checking import Doubt
from .adapters import LoadedFrom


class NothingLeft(Exception):
    """All that a name stands for has been tried."""


class Target(Struct, frozen=True, kw_only=True):
    """One model, and how it is to be served."""

    requested: str
    """The name as it was asked for."""
    resolved: str
    """The model behind it, as `aiadmin list` shows it."""
    spec: ModelSpec
    """As it is opened, whatever name it is asked for by."""
    defaults: dict[str, Any] = {}
    """What a request leaves open: the name's word, then the model's own."""
    system: str | None = None
    """The name's system message, for conversations that have none; None leaves it to the model's own."""
    stop: tuple[str, ...] = ()
    """Texts that end answers under this name, besides the model's own."""
    adapters: tuple[LoadedFrom, ...] = ()
    """What requests apply that ask for no others."""
    backend: str | None = None
    """The backend that must serve it; None lets the most suitable one."""
    options: EngineOptions = EngineOptions()
    n_ctx_train: int = 0
    """Tokens that the model was trained for; 0 where its header was never read."""
    keep_alive_s: float | None = None
    """How long it stays loaded when idle; None leaves that to the request and the settings."""
    falls_back: bool = False
    """Whether the name stands for something else as well, if this one cannot answer."""
    doubts: tuple[Doubt, ...] = ()
    """Files that were touched and are being hashed: to be waited for before the model is used."""

    async def checked(self) -> None:
        """Wait until every doubt is settled; holds no thread meanwhile. Raises `StoreError` where a file is not what it
        should be."""
        for doubt in self.doubts:
            doubt.judge(await asyncio.shield(asyncio.wrap_future(doubt.digest)))
