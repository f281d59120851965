"""`POST /api/copy` and `DELETE /api/delete`: names that models have."""

import asyncio
from typing import Any

from litestar import Request, Response, delete, post
from msgspec import Struct

from ...http.openapi import described
from ...http.reading import read
from ...removing import remove_model
from ...serving.dependencies import ResolverDependency, RouterDependency, SettingsDependency
from .named import Named, name_in


class CopyRequest(Struct, frozen=True, kw_only=True):
    source: str
    destination: str


class DeleteRequest(Named, frozen=True, kw_only=True):
    """The name that is to go."""


@post("/api/copy", status_code=200, opt=described(CopyRequest, closed=False))
async def copy(
    request: Request[Any, Any, Any], resolver: ResolverDependency, router: RouterDependency
) -> Response[bytes]:
    """Give a model another name. A model or alias of that name gives way."""
    data = (await read(request, CopyRequest)).data
    await asyncio.to_thread(resolver.store.copy, data.source, data.destination)
    await router.refresh()
    return Response(b"", status_code=200)


@delete("/api/delete", status_code=200, opt=described(DeleteRequest, closed=False))
async def remove(
    request: Request[Any, Any, Any],
    resolver: ResolverDependency,
    router: RouterDependency,
    settings: SettingsDependency,
) -> Response[bytes]:
    """Forget a name, and the files that no other needs. Where it is loaded and has no other name, it is unloaded."""
    name = name_in((await read(request, DeleteRequest)).data)
    await asyncio.to_thread(remove_model, name, resolver.store, settings)
    await router.refresh()
    return Response(b"", status_code=200)
