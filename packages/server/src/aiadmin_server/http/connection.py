"""Noticing that a client has left, while work for it goes on. Used by `serving.answer`."""

import asyncio
import logging
from collections.abc import Coroutine

from litestar.types import Receive

from aiadmin_core.errors import PluginError

LOG = logging.getLogger("aiadmin.server")


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
            raise PluginError("The answer was cancelled from within.")
        task.result()
    elif not task.cancelled() and (error := task.exception()):
        LOG.warning("closing a request whose client has left failed", exc_info=error)
    return not left


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
