"""`POST /api/pull`: a model is fetched, and how far that is comes in lines. What it has fetched when its client leaves
is kept, and the next pull goes on from there.
"""

import asyncio
from contextlib import aclosing
from typing import Any

from litestar import Request, Response, post
from litestar.response import Stream
from msgspec import UNSET

from aiadmin_core.sources import Caller, Progress

from ...catalogue import catalogue, find_entry
from ...http.openapi import NDJSON, described
from ...http.reading import read
from ...pull import plan, pull
from ...routing.resolver import Resolver
from ...serving.dependencies import ResolverDependency, RouterDependency, SettingsDependency
from ...sources.installed import installed_sources
from .named import name_in
from .progress import SUCCESS, Lines, ProgressLine, Report, steps, told_in_lines
from .transfers import Transfer, caller_of

FIRST = "pulling manifest"


class PullRequest(Transfer, frozen=True, kw_only=True):
    """`POST /api/pull`."""


@post(
    "/api/pull",
    status_code=200,
    opt=described(PullRequest, ProgressLine, event=ProgressLine, stream=NDJSON, closed=False),
)
async def pull_model(
    request: Request[Any, Any, Any],
    resolver: ResolverDependency,
    router: RouterDependency,
    settings: SettingsDependency,
) -> Stream | Response[bytes]:
    """Fetch a model into the store. What may be fetched for whoever asks over HTTP, the sources say."""
    data = (await read(request, PullRequest)).data
    name = name_in(data)
    caller = caller_of(request, settings, insecure=data.insecure)
    digest = await asyncio.to_thread(lambda: _planned(name, resolver, caller))

    def work(report: Report) -> None:
        pull(name, store=resolver.store, plugins=resolver.plugins, progress=report, caller=caller)

    async def lines() -> Lines:
        yield ProgressLine(status=FIRST)
        async with aclosing(steps(work, what="A pull")) as found:
            async for step in found:
                if step.status != FIRST:
                    yield line_of(step, digest)
        await router.refresh()  # the name may stand for something else now
        yield ProgressLine(status=SUCCESS)

    return await told_in_lines(request, lines(), stream=data.stream is not False)


def line_of(step: Progress, digest: str) -> ProgressLine:
    """A step in Ollama's words: while bytes of a file come, which file it is (`digest` where the step does not say).
    Pure."""
    digest = step.digest or digest
    bytes_come = step.status == "downloading" and digest
    return ProgressLine(
        status=f"pulling {digest.removeprefix('sha256:')[:12]}" if bytes_come else step.status,
        digest=digest if bytes_come else UNSET,
        total=step.total or UNSET,
        completed=step.completed or UNSET,
    )


def _planned(name: str, resolver: Resolver, caller: Caller) -> str:
    """The digest of the model file, where the catalogue has the name. Raises what `plan` raises, before a stream has
    begun."""
    entries = catalogue(resolver.plugins)
    plan(name, entries, installed_sources(resolver.plugins), caller)
    entry = find_entry(entries, name)
    return entry.digest if entry else ""
