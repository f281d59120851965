"""Calls being carried out, each held by a task that belongs to the server and not to a connection.

Whoever starts a `Work` closes it: an answer when its client has left or has everything. One that outlives its
connection is read and closed by whoever started it, and closed by the server when it ends. Its events are read where
they are used, with no task between. Cancelling is closing: the task ends, which closes the event stream, which closes
the engine's iterator and gives the lease back.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from .call import Call, Caller
from .exchange import Exchanges, Opened, told_from_within

LOG = logging.getLogger("aiadmin.server")


class Patience(Struct, frozen=True, kw_only=True):
    """How long the client of a stream hears nothing."""

    headers_s: float
    """After a request came; then its stream begins, though there is nothing to stream yet."""
    ping_s: float
    """After the last word."""


class Service:
    """Carries calls out, and keeps those that are being carried out. One per app."""

    def __init__(self, exchanges: Exchanges, *, on_disconnect: Callable[[str], None], patience: Patience) -> None:
        """`on_disconnect` is told the endpoint of each request whose client left before it was answered."""
        self.on_disconnect = on_disconnect
        self.patience = patience
        self._exchanges = exchanges
        self._works: set[Work] = set()

    def start(self, call: Call, caller: Caller) -> "Work":
        """Begin at once. The caller closes what is returned."""
        work = Work(self._exchanges.open(call, caller))
        self._works.add(work)
        work.when_done(lambda: self._works.discard(work))
        return work

    async def close(self) -> None:
        """End what is still being worked on."""
        for work in list(self._works):
            await work.close()


class Work:
    """One call."""

    def __init__(self, opening: AbstractAsyncContextManager[Opened]) -> None:
        self._opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(opening))

    def when_done(self, callback: Callable[[], None]) -> None:
        self._task.add_done_callback(lambda _: callback())

    async def opened(self) -> Opened:
        """The engine at work. Raises what kept it from being leased, and what the request cannot have."""
        return await asyncio.shield(self._opened)

    async def close(self) -> None:
        """End the work, which nobody reads any more; when this returns the engine is free again."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()):
            LOG.warning("closing a request whose client has left failed", exc_info=error)

    async def _hold(self, opening: AbstractAsyncContextManager[Opened]) -> None:
        """Open, and keep open until `close`."""
        try:
            async with opening as opened:
                self._opened.set_result(opened)
                await asyncio.Event().wait()
        except (Exception, asyncio.CancelledError) as error:
            if self._opened.done():
                raise
            self._opened.set_exception(told_from_within(error))
            self._opened.exception()  # read: nobody may be waiting for it any more
            if isinstance(error, asyncio.CancelledError):
                raise
