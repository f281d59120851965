"""Work that takes its time, told in lines: pull, create and the like. Used by their routes.

It goes on in a thread of its own, not in the pool that requests share: it may last for hours, or wait for other work.
It ends at its next word on how far it is, once nobody listens any more.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.response import Stream
from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.sources import Progress

from ...http import ndjson
from ...http.connection import while_connected
from ...http.errors import ClientLeft, told
from ...http.openapi import NDJSON

LOG = logging.getLogger("aiadmin.server")

LINE_EVERY_S = 0.1
"""While nothing but a number changes."""
SUCCESS = "success"

Report = Callable[[Progress], None]


class ProgressLine(Struct, frozen=True, kw_only=True):
    """How far it is; the last one is `success`, or an error."""

    status: str
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    """Bytes."""
    completed: int | UnsetType = UNSET


Lines = AsyncGenerator[ProgressLine, None]


async def told_in_lines(request: Request[Any, Any, Any], lines: Lines, *, stream: bool) -> Stream | Response[bytes]:
    """The answer: each line as it comes, or `success` at the end. What fails meanwhile is a last line, or raised."""
    if stream:
        return Stream(_frames(request, lines), media_type=NDJSON)

    async def to_the_end() -> None:
        async with aclosing(lines) as found:
            async for _ in found:
                pass

    if not await while_connected(request.receive, to_the_end()):
        raise ClientLeft("The client left before it was done.")
    return Response(msgspec.json.encode(ProgressLine(status=SUCCESS)), media_type="application/json")


async def _frames(request: Request[Any, Any, Any], lines: Lines) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(lines) as found:
            async for line in found:
                yield ndjson.frame(line)
    except Exception as error:
        yield ndjson.frame(told(error, request.scope)[1])


class NobodyListens(BaseException):
    """Raised inside the work, where Ctrl-C would be, to end it. No `Exception`: nothing there may take it for a
    fault."""


async def steps(work: Callable[[Report], None], *, what: str) -> AsyncGenerator[Progress, None]:
    """Do `work`, which the log calls `what`, in a thread of its own, and give what it reports; raises what it raises.
    Closing this ends it."""
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[Progress | None] = asyncio.Queue()
    closed = threading.Event()
    failures: list[Exception] = []
    last = Progress(status="")
    last_at = 0.0

    def say(step: Progress | None) -> None:
        try:
            loop.call_soon_threadsafe(reports.put_nowait, step)
        except RuntimeError:  # the loop is closed: the server ends
            closed.set()

    def report(step: Progress) -> None:
        nonlocal last, last_at
        if closed.is_set():
            raise NobodyListens
        now = time.monotonic()
        is_whole = step.total and step.completed >= step.total
        if step.status == SUCCESS or (step.status == last.status and not is_whole and now - last_at < LINE_EVERY_S):
            return
        last, last_at = step, now
        say(step)

    def run() -> None:
        try:
            work(report)
        except NobodyListens:
            LOG.info("%s has ended before it was done: its client has left.", what)
        except Exception as error:
            failures.append(error)
        finally:
            say(None)

    threading.Thread(target=run, name="aiadmin-work", daemon=True).start()
    try:
        while (step := await reports.get()) is not None:
            yield step
    finally:
        closed.set()
    if failures:
        raise failures[0]
