"""`POST /api/show`: all that is known of a model."""

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar import Request, post
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aiadmin_core.errors import ModelNotFound
from aiadmin_core.specs.content import plain_text
from aiadmin_core.specs.model import ModelSpec

from ...http.openapi import described
from ...http.reading import read
from ...modelfile.recipe import Recipe
from ...modelfile.writing import parameter_lines, recipe_of, write
from ...routing.entry import LoadedModel
from ...routing.outline import header_of
from ...routing.resolver import Explanation, Resolver
from ...serving.dependencies import ResolverDependency, RouterDependency
from .describing import (
    Details,
    abilities_of,
    capabilities_of,
    details_of,
    model_info_of,
    projector_info_of,
    timestamp,
)
from .named import Named, name_in


class ShowRequest(Named, frozen=True, kw_only=True):
    options: dict[str, Any] | None = None
    """Instead of the model's own, in `parameters` and `modelfile`; so are the next two."""
    system: str | None = None
    template: str | None = None
    verbose: bool | None = None
    """With long lists in `model_info`: the vocabulary."""


class ShownMessage(Struct, frozen=True, kw_only=True):
    role: str
    content: str


class Shown(Struct, frozen=True, kw_only=True):
    license: str | UnsetType = UNSET
    modelfile: str
    parameters: str
    """What a request leaves open: a line for each, or for each item of a list."""
    template: str
    """In Jinja or in Go's language; "" where nobody knows."""
    system: str | UnsetType = UNSET
    messages: list[ShownMessage] | UnsetType = UNSET
    """That stand before every conversation."""
    requires: str | UnsetType = UNSET
    renderer: str | UnsetType = UNSET
    parser: str | UnsetType = UNSET
    projector_info: dict[str, Any] | UnsetType = UNSET
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


@post("/api/show", status_code=200, opt=described(ShowRequest, Shown, closed=False))
async def show(request: Request[Any, Any, Any], resolver: ResolverDependency, router: RouterDependency) -> Shown:
    """What a model is, whatever name it is asked for by."""
    data = (await read(request, ShowRequest)).data
    name = name_in(data)
    loaded = {model.digest or model.name: model for model in router.loaded() if model.state == "ready"}
    return await asyncio.to_thread(lambda: _shown(data, resolver.explain(name), resolver, loaded))


def _shown(data: ShowRequest, explained: Explanation, resolver: Resolver, loaded: Mapping[str, LoadedModel]) -> Shown:
    asked = {name: value for name, value in explained.defaults.items() if name != "keep_alive"}
    parameters = {name: default.value for name, default in asked.items()} | (data.options or {})
    model = resolver.store.find(explained.resolved)
    if model is None:
        offered = next((spec for spec in resolver.offered() if spec.name == explained.resolved), None)
        if offered is None:  # removed a moment ago
            raise ModelNotFound(explained.requested)
        return _offered(data, offered, parameters, loaded.get(offered.digest or offered.name))
    header = header_of(model.files[:1], resolver.backends().values())
    template = data.template or model.template or (header.chat_template if header else None) or ""
    system = data.system or model.system_message or ""
    return Shown(
        license=model.license or UNSET,
        modelfile=write(_asked(recipe_of(model, explained.defaults), data)),
        parameters="\n".join(parameter_lines(parameters)),
        template=template,
        system=system or UNSET,
        messages=[ShownMessage(role=one.role, content=plain_text(one.content)) for one in model.messages] or UNSET,
        requires=model.about.get("requires", UNSET),
        renderer=model.about.get("renderer", UNSET),
        parser=model.about.get("parser", UNSET),
        projector_info=projector_info_of(model, resolver.backends().values()) or UNSET,
        details=details_of(model),
        model_info=model_info_of(model, header, verbose=bool(data.verbose)),
        capabilities=capabilities_of(resolver.outline(model), loaded.get(model.weights_digest)) or ["completion"],
        modified_at=timestamp(model.modified_at),
    )


def _offered(data: ShowRequest, spec: ModelSpec, parameters: Mapping[str, Any], loaded: LoadedModel | None) -> Shown:
    """A model that a backend brings: what it is made of, only the backend knows."""
    able = loaded.capabilities if loaded else None
    system = data.system or spec.system or ""
    return Shown(
        modelfile=write(_asked(Recipe(bases=(spec.name,), parameters=spec.parameters), data)),
        parameters="\n".join(parameter_lines(parameters)),
        template=data.template or spec.template or "",
        system=system or UNSET,
        details=Details(format=spec.format),
        model_info={},
        capabilities=abilities_of(able) if able else ["completion"],
        modified_at=timestamp(0),
    )


def _asked(recipe: Recipe, data: ShowRequest) -> Recipe:
    """`recipe` with what the request would have instead. Pure."""
    return replace(
        recipe,
        system=data.system or recipe.system,
        template=data.template or recipe.template,
        parameters=dict(recipe.parameters) | (data.options or {}),
    )
