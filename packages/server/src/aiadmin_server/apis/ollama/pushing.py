"""`POST /api/push`: a model is sent to a registry, and how far that is comes in lines."""

import asyncio
from contextlib import aclosing
from typing import Any

from litestar import Request, Response, post
from litestar.response import Stream
from msgspec import UNSET

from ...http.openapi import NDJSON, described
from ...http.reading import read
from ...push import check, push
from ...serving.dependencies import ResolverDependency, SettingsDependency
from ...sources.registry.source import RegistryAccess
from .named import name_in
from .progress import SUCCESS, Lines, ProgressLine, Report, steps, told_in_lines
from .transfers import Transfer, caller_of


class PushRequest(Transfer, frozen=True, kw_only=True):
    """`POST /api/push`."""


@post(
    "/api/push",
    status_code=200,
    opt=described(PushRequest, ProgressLine, event=ProgressLine, stream=NDJSON, closed=False),
)
async def push_model(
    request: Request[Any, Any, Any], resolver: ResolverDependency, settings: SettingsDependency
) -> Stream | Response[bytes]:
    """Send a model to the registry in its name. Over HTTP that is the server's default registry, or a public one."""
    data = (await read(request, PushRequest)).data
    name = name_in(data)
    caller = caller_of(request, settings, insecure=data.insecure)
    store = resolver.store
    access = RegistryAccess(settings.registry, settings.registry_credentials)
    await asyncio.to_thread(lambda: check(name, store=store, access=access, caller=caller))

    def work(report: Report) -> None:
        push(name, store=store, access=access, progress=report, caller=caller)

    async def lines() -> Lines:
        async with aclosing(steps(work, what="A push")) as found:
            async for step in found:
                yield ProgressLine(
                    status=step.status,
                    digest=step.digest or UNSET,
                    total=step.total or UNSET,
                    completed=step.completed or UNSET,
                )
        yield ProgressLine(status=SUCCESS)

    return await told_in_lines(request, lines(), stream=data.stream is not False)
