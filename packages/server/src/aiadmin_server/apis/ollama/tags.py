"""`GET|HEAD /api/tags`: every model that can be asked for."""

import asyncio
from collections.abc import Iterator

from litestar import route
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.model import ModelSpec

from ...http.openapi import described
from ...routing.entry import LoadedModel
from ...routing.outline import Outline
from ...routing.resolver import Resolver
from ...serving.dependencies import ResolverDependency, RouterDependency
from ...store.names import parse_name
from ...store.store import StoredModel
from .describing import Details, abilities_of, bare, capabilities_of, details_of, timestamp


class Tag(Struct, frozen=True, kw_only=True):
    """One name, and what it stands for."""

    name: str
    """With its tag."""
    model: str
    modified_at: str
    size: int
    digest: str
    """Of the manifest, without `sha256:`."""
    details: Details
    capabilities: list[str] | UnsetType = UNSET
    """Missing for what a backend brings and is not loaded."""
    alias_of: str | UnsetType = UNSET
    """Ours."""


class Tags(Struct, frozen=True, kw_only=True):
    models: list[Tag]


@route("/api/tags", http_method=["GET", "HEAD"], opt=described(response=Tags))
async def tags(resolver: ResolverDependency, router: RouterDependency) -> Tags:
    """Every model of the store, newest first, every alias, and what backends bring."""
    loaded = {model.digest or model.name: model for model in router.loaded() if model.state == "ready"}
    return Tags(models=await asyncio.to_thread(lambda: _listed(resolver, loaded)))


def _listed(resolver: Resolver, loaded: dict[str, LoadedModel]) -> list[Tag]:
    tags = {
        model.name: _stored(model, resolver.outline(model), loaded.get(model.weights_digest))
        for model in resolver.store.models()
    }
    tags |= {spec.name: _offered(spec, loaded.get(spec.digest or spec.name)) for spec in resolver.offered()}
    tags |= dict(_aliases(resolver, tags))
    return sorted(tags.values(), key=lambda tag: tag.modified_at, reverse=True)


def _aliases(resolver: Resolver, tags: dict[str, Tag]) -> Iterator[tuple[str, Tag]]:
    for name, alias in resolver.aliases.all().items():
        try:
            shown = parse_name(name).display
            target = tags.get(resolver.explain(name).resolved)
        except AiAdminError:  # it leads nowhere
            continue
        if target is not None and shown not in tags:  # a model goes before it
            yield shown, replace(target, name=shown, model=shown, alias_of=alias.target)


def _stored(model: StoredModel, outline: Outline | None, loaded: LoadedModel | None) -> Tag:
    return Tag(
        name=model.name,
        model=model.name,
        modified_at=timestamp(model.modified_at),
        size=model.size,
        digest=bare(model.digest),
        details=details_of(model),
        capabilities=capabilities_of(outline, loaded) or UNSET,
    )


def _offered(spec: ModelSpec, loaded: LoadedModel | None) -> Tag:
    return Tag(
        name=spec.name,
        model=spec.name,
        modified_at=timestamp(0),
        size=sum(file.size for file in spec.files),
        digest=bare(spec.digest),
        details=Details(format=spec.format),
        capabilities=_capabilities(loaded),
    )


def _capabilities(loaded: LoadedModel | None) -> list[str] | UnsetType:
    return UNSET if loaded is None or loaded.capabilities is None else abilities_of(loaded.capabilities)
