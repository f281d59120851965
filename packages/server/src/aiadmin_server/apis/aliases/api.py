"""`/api/aliases`: names that follow a model, with settings of their own."""

import asyncio
from typing import Any

from litestar import Request, Response, delete, get, put
from litestar.params import FromPath
from msgspec import UNSET

from aiadmin_core.errors import BadRequest

from ...http.openapi import described
from ...http.reading import Decoded, read
from ...routing.aliasing import known_backend, set_alias
from ...routing.defaults import nearest, read_defaults
from ...routing.resolver import Resolver
from ...serving.dependencies import ResolverDependency, RouterDependency
from ...store.aliases import Alias, AliasNotFound
from .. import Api, tell_plainly
from .wire import AliasList, AliasRecord, AliasRequest, record_of


@get("/api/aliases", opt=described(response=AliasList))
async def list_aliases(resolver: ResolverDependency) -> AliasList:
    """Every alias, in alphabetical order."""

    def listed() -> AliasList:
        aliases = [record_of(resolver, name, alias) for name, alias in resolver.aliases.all().items()]
        return AliasList(aliases=aliases, problem=resolver.aliases.problem() or UNSET)

    return await asyncio.to_thread(listed)


@get("/api/aliases/{name:path}", opt=described(response=AliasRecord))
async def get_alias(name: FromPath[str], resolver: ResolverDependency) -> AliasRecord:
    """One alias, by the name it was given."""
    return await asyncio.to_thread(_shown, resolver, name.removeprefix("/"))


@put("/api/aliases/{name:path}", status_code=200, opt=described(AliasRequest, AliasRecord))
async def put_alias(
    name: FromPath[str], request: Request[Any, Any, Any], resolver: ResolverDependency, router: RouterDependency
) -> AliasRecord:
    """Let a name, or a pattern of names (`gpt-*`), stand for a model. Takes the place of an alias of this name."""
    decoded = await read(request, AliasRequest)
    shown = await asyncio.to_thread(_set, resolver, name.removeprefix("/"), decoded)
    await router.refresh()
    return shown


@delete("/api/aliases/{name:path}", status_code=200)
async def delete_alias(name: FromPath[str], resolver: ResolverDependency, router: RouterDependency) -> Response[bytes]:
    """Forget an alias; the models stay."""
    await asyncio.to_thread(resolver.aliases.remove, name.removeprefix("/"))
    await router.refresh()
    return Response(b"", status_code=200)


def _set(resolver: Resolver, name: str, decoded: Decoded[AliasRequest]) -> AliasRecord:
    """Raises `BadRequest`, also for a field that nobody knows: it would be lost without a word."""
    data = decoded.data
    if strange := next(iter(decoded.unknown), None):
        hint = nearest(strange, AliasRequest.__struct_fields__)
        raise BadRequest(f"An alias has no field '{strange}'.", hint=hint, param=strange)
    alias = Alias(
        target=data.target,
        fallbacks=tuple(data.fallbacks),
        backend=known_backend(resolver, data.backend) if data.backend is not None else None,
        keep_alive=data.keep_alive,
        system=data.system,
        lora=None if data.lora is None else tuple(data.lora),
        parameters=read_defaults(data.parameters, within="parameters"),
    )
    set_alias(resolver, name, alias, missing_ok=data.missing_ok)
    return record_of(resolver, name, alias)


def _shown(resolver: Resolver, name: str) -> AliasRecord:
    resolver.aliases.check(name)
    alias = resolver.aliases.get(name)
    if alias is None:
        raise AliasNotFound(name)
    return record_of(resolver, name, alias)


API = Api(
    name="aliases",
    title="",
    paths=("/api/aliases",),
    routes=(list_aliases, get_alias, put_alias, delete_alias),
    envelope=tell_plainly,
)
