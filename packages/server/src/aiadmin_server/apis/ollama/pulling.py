"""`POST /api/pull`: a model is fetched, and how far that is comes in lines.

A pull works in a thread of its own, not in the pool that requests share: it may last for hours, or wait for another
one. It ends at its next word on how far it is, once nobody listens any more; what it has fetched is kept, and the next
pull goes on from there.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Stream
from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.sources import Caller, Progress

from ...catalogue import catalogue, find_entry
from ...http import ndjson
from ...http.connection import while_connected
from ...http.errors import ClientLeft, told
from ...http.openapi import NDJSON, described
from ...http.reading import read
from ...pull import plan, pull
from ...routing.resolver import Resolver
from ...serving.dependencies import ResolverDependency, RouterDependency
from ...settings import Settings
from ...sources.installed import installed_sources
from .named import Named, name_in

LOG = logging.getLogger("aiadmin.server")

LINE_EVERY_S = 0.1
"""While nothing but a number changes."""
SUCCESS = "success"

SettingsDependency = NamedDependency[SkipValidation[Settings]]
Report = Callable[[Progress], None]


class PullRequest(Named, frozen=True, kw_only=True):
    stream: bool | None = None
    """True where it is left out."""
    insecure: bool | None = None
    """No effect: what comes is checked by its digest, wherever the catalogue has one."""
    username: str | None = None
    """No effect, nor has the next."""
    password: str | None = None


class PullLine(Struct, frozen=True, kw_only=True):
    """How far it is; the last one is `success`, or an error."""

    status: str
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    """Bytes."""
    completed: int | UnsetType = UNSET


@post("/api/pull", status_code=200, opt=described(PullRequest, PullLine, event=PullLine, stream=NDJSON, closed=False))
async def pull_model(
    request: Request[Any, Any, Any],
    resolver: ResolverDependency,
    router: RouterDependency,
    settings: SettingsDependency,
) -> Stream | Response[bytes]:
    """Fetch a model into the store. What may be fetched for whoever asks over HTTP, the sources say."""
    data = (await read(request, PullRequest)).data
    name = name_in(data)
    caller = Caller(
        over="http",
        identity=request.scope["state"].get("identity") or "",
        private_addresses=settings.private_sources,
    )
    digest = await asyncio.to_thread(lambda: _planned(name, resolver, caller))

    def work(report: Report) -> None:
        pull(name, store=resolver.store, plugins=resolver.plugins, progress=report, caller=caller)

    async def lines() -> AsyncGenerator[PullLine, None]:
        yield PullLine(status="pulling manifest")
        async with aclosing(steps(work)) as found:
            async for step in found:
                yield line_of(step, digest)
        await router.refresh()  # the name may stand for something else now
        yield PullLine(status=SUCCESS)

    if data.stream is False:

        async def to_the_end() -> None:
            async with aclosing(lines()) as found:
                async for _ in found:
                    pass

        if not await while_connected(request.receive, to_the_end()):
            raise ClientLeft("The client left before the model was here.")
        return Response(msgspec.json.encode(PullLine(status=SUCCESS)), media_type="application/json")

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(lines()) as found:
                async for line in found:
                    yield ndjson.frame(line)
        except Exception as error:
            yield ndjson.frame(told(error, request.scope)[1])

    return Stream(frames(), media_type=NDJSON)


def line_of(step: Progress, digest: str) -> PullLine:
    """A step in Ollama's words: while bytes of a file come, which file it is. Pure."""
    bytes_come = step.status == "downloading" and digest
    return PullLine(
        status=f"pulling {digest.removeprefix('sha256:')[:12]}" if bytes_come else step.status,
        digest=digest if bytes_come else UNSET,
        total=step.total or UNSET,
        completed=step.completed or UNSET,
    )


class NobodyListens(BaseException):
    """Raised inside a pull, where Ctrl-C would be, to end it. No `Exception`: nothing there may take it for a fault."""


async def steps(work: Callable[[Report], None]) -> AsyncGenerator[Progress, None]:
    """Do `work` in a thread of its own, and give what it reports; raises what it raises. Closing this ends it."""
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
            LOG.info("A pull has ended before it was done: its client has left. The next one goes on from there.")
        except Exception as error:
            failures.append(error)
        finally:
            say(None)

    threading.Thread(target=run, name="aiadmin-pull", daemon=True).start()
    try:
        while (step := await reports.get()) is not None:
            yield step
    finally:
        closed.set()
    if failures:
        raise failures[0]


def _planned(name: str, resolver: Resolver, caller: Caller) -> str:
    """The digest of the model file, where the catalogue has the name. Raises what `plan` raises, before a stream has
    begun."""
    entries = catalogue(resolver.plugins)
    plan(name, entries, installed_sources(resolver.plugins), caller)
    entry = find_entry(entries, name)
    return entry.digest if entry else ""
