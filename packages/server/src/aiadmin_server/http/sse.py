"""Server-sent events, and noticing that a client has left. Used by `answer`; knows nothing of any API.

Cancelling is closing: a client that leaves, at whatever moment, cancels the task that works for it, which closes the
event stream, which closes the engine's iterator.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing
from typing import TypeVar

import msgspec
from litestar.types import Receive
from msgspec import Struct

from aiadmin_core.errors import PluginError

LOG = logging.getLogger("aiadmin.server")

T = TypeVar("T")

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the stream back
]
N_WAITING = 256
"""Events kept for a client that reads slowly before the engine's stream is left to wait."""

_encoder = msgspec.json.Encoder()


def frames(chunks: Iterable[Struct]) -> bytes:
    """`data:` frames, one for each chunk."""
    pieces: list[bytes] = []
    for chunk in chunks:
        pieces += (b"data: ", _encoder.encode(chunk), b"\n\n")
    return b"".join(pieces)


async def batches(stream: AsyncGenerator[T, None], *, idle_s: float) -> AsyncGenerator[list[T], None]:
    """Whatever `stream` has given since the last batch, at least one item; an empty batch after `idle_s` without any.

    Reads ahead in a task of its own, which closes `stream`. Raises what `stream` raises, after what came before it.
    """
    queue: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue(maxsize=N_WAITING)
    reader = asyncio.create_task(_read(stream, queue))
    try:
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    found = await queue.get()
            except TimeoutError:
                if reader.done() and queue.empty():  # something inside cancelled it: nothing more will come
                    raise PluginError("The engine's stream was cancelled from within.") from None
                yield []
                continue
            batch: list[T] = []
            while isinstance(found, tuple):
                batch.append(found[0])
                if queue.empty():
                    break
                found = queue.get_nowait()
            if batch:
                yield batch
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
    finally:
        reader.cancel()
        await asyncio.wait({reader})


async def _read(stream: AsyncGenerator[T, None], queue: "asyncio.Queue[tuple[T] | BaseException | None]") -> None:
    try:
        async with aclosing(stream):
            async for item in stream:
                await queue.put((item,))
    except Exception as error:
        await queue.put(error)
    else:
        await queue.put(None)


async def while_connected(receive: Receive, work: Coroutine[None, None, None]) -> bool:
    """Run `work` until it ends or the client leaves, which cancels it; False if the client left first.

    The request's body must have been read. Raises what `work` raises.
    """
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        left = not task.done()
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.wait({task, watch})
    if not left:
        if task.cancelled():  # by something inside: nobody here has
            raise PluginError("The engine's stream was cancelled from within.")
        task.result()
    elif not task.cancelled() and (error := task.exception()):
        LOG.warning("closing a request whose client has left failed", exc_info=error)
    return not left


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
