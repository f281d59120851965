"""Calls being carried out, each in a task that belongs to the server and not to a connection.

Whoever starts a `Work` closes it: an answer when its client has left or has everything. One that outlives its
connection is closed by whoever started it, and by the server when it ends. Cancelling is closing: the task ends, which
closes the event stream, which closes the engine's iterator and gives the lease back.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

from aiadmin_core.errors import PluginError
from aiadmin_core.specs.events import Event

from .call import Call, Caller
from .exchange import Exchanges, Opened

LOG = logging.getLogger("aiadmin.server")

N_WAITING = 256
"""Events kept for a reader that is slow before the engine's stream is left to wait."""


class Service:
    """Carries calls out, and keeps those that are being carried out. One per app."""

    def __init__(self, exchanges: Exchanges, *, on_disconnect: Callable[[str], None], ping_s: float) -> None:
        """`on_disconnect` is told the endpoint of each request whose client left before it was answered; after
        `ping_s` of silence a stream says that it is still there."""
        self.on_disconnect = on_disconnect
        self.ping_s = ping_s
        self._exchanges = exchanges
        self._works: set[Work] = set()

    def start(self, call: Call, caller: Caller) -> "Work":
        """Begin at once. The caller closes what is returned."""
        work = Work(lambda work: self._exchanges.open(call, caller, on_leased=work.leased))
        self._works.add(work)
        work.when_done(lambda: self._works.discard(work))
        return work

    async def close(self) -> None:
        """End what is still being worked on."""
        for work in list(self._works):
            await work.close()


class Work:
    """One call. Its events are read once, by one reader."""

    def __init__(self, opening: "Callable[[Work], AbstractAsyncContextManager[Opened]]") -> None:
        self.model = ""
        """The model behind the name, from when it is leased."""
        self._opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=N_WAITING)
        self._failure: Exception | None = None
        self._task = asyncio.create_task(self._run(opening(self)))

    def leased(self, model: str) -> None:
        self.model = model

    def when_done(self, callback: Callable[[], None]) -> None:
        self._task.add_done_callback(lambda _: callback())

    async def opened(self) -> Opened:
        """The engine at work. Raises what kept it from being leased, and what the request cannot have."""
        return await asyncio.shield(self._opened)

    async def batches(self, *, idle_s: float | None = None) -> AsyncGenerator[list[Event], None]:
        """Whatever has come since the last batch, at least one event; an empty batch after `idle_s` without any.

        Raises what the engine's stream raised, after what came before it.
        """
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    event = await self._queue.get()
            except TimeoutError:
                yield []
                continue
            batch: list[Event] = []
            while event is not None:
                batch.append(event)
                if self._queue.empty():
                    break
                event = self._queue.get_nowait()
            if batch:
                yield batch
            if event is None:
                break
        if self._failure:
            raise self._failure

    async def close(self) -> None:
        """End the work; when this returns the engine is free again."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()):
            LOG.warning("closing a request whose client has left failed", exc_info=error)

    async def _run(self, opening: AbstractAsyncContextManager[Opened]) -> None:
        this = asyncio.current_task()
        assert this
        try:
            await self._read(opening)
        except asyncio.CancelledError:
            if this.cancelling():
                raise
            self._failure = PluginError("The engine's stream was cancelled from within.")
        except Exception as error:
            if this.cancelling():
                raise
            self._failure = error
        if not self._opened.done():
            assert self._failure
            self._opened.set_exception(self._failure)
            self._opened.exception()  # read: nobody may be waiting for it any more
        await self._queue.put(None)

    async def _read(self, opening: AbstractAsyncContextManager[Opened]) -> None:
        async with opening as opened, aclosing(opened.events) as events:
            self._opened.set_result(opened)
            async for event in events:
                await self._queue.put(event)
