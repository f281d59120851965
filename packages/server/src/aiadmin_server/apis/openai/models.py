"""`GET /v1/models` and `GET /v1/models/{id}`: what can be asked for, aliases included."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from litestar import get
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aiadmin_core.errors import AiAdminError, InvalidName, ModelNotFound
from aiadmin_core.specs.model import ModelFacts, ModelSpec

from ...http.openapi import described
from ...routing.entry import LoadedModel
from ...routing.outline import Outline
from ...routing.resolver import Resolver
from ...serving.abilities import abilities, foretold
from ...serving.dependencies import ResolverDependency, RouterDependency
from ...serving.ports import RouterPort
from ...store.aliases import Alias, find_alias
from ...store.names import parse_name, short_name
from ...store.store import StoredModel

Key = tuple[str, ...]


class Model(Struct, frozen=True, kw_only=True):
    """OpenAI's `model`, and what else is known of it."""

    id: str
    created: int
    owned_by: str
    object: str = "model"
    format: str | UnsetType = UNSET
    quantization: str | UnsetType = UNSET
    context_length: int | UnsetType = UNSET
    """What it is open with; what it was trained for, where it is not loaded."""
    max_output_tokens: int | UnsetType = UNSET
    """The longest answer, which a prompt of one token leaves room for; missing for a model that answers with none."""
    backend: str | UnsetType = UNSET
    """What serves it, or would."""
    problem: str | UnsetType = UNSET
    """Why no installed backend can serve it, and what to do about it."""
    capabilities: list[str] | UnsetType = UNSET
    """As its engine says while it is loaded, else as far as its files tell; missing for what a backend brings by itself
    and is not loaded."""
    loaded: bool = False
    alias_of: str | UnsetType = UNSET


class ModelList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Model]


@get("/v1/models", opt=described(response=ModelList))
async def list_models(resolver: ResolverDependency, router: RouterDependency) -> ModelList:
    """Every model of the store, newest first, and every alias."""
    return ModelList(data=await _models(resolver, router))


@get("/v1/models/{name:path}", opt=described(response=Model))
async def get_model(name: FromPath[str], resolver: ResolverDependency, router: RouterDependency) -> Model:
    """One model, by any name that requests take: a spelling of its own, an alias, either behind a backend's name. A
    name whose requests would be refused is refused here in the same words."""
    wanted = name.removeprefix("/")
    if refusal := await asyncio.to_thread(resolver.refusal, wanted):
        raise refusal
    models = {_key(model.id): model for model in await _models(resolver, router)}
    if found := models.get(_key(wanted)):
        return found
    explained = await asyncio.to_thread(resolver.explain, wanted)
    found = models.get(_key(explained.resolved))
    if found is None:  # removed a moment ago
        raise ModelNotFound(wanted)
    alias_of = short_name(explained.alias_of) or UNSET
    return replace(found, id=short_name(wanted), backend=explained.backend or found.backend, alias_of=alias_of)


async def _models(resolver: Resolver, router: RouterPort) -> list[Model]:
    loaded = {model.digest or model.name: model for model in router.loaded() if model.state == "ready"}

    def read() -> list[Model]:
        models = listed(
            resolver.store.models(), resolver.offered(), resolver.aliases.all(), loaded, outline=resolver.outline
        )
        return [_with_backend(resolver, model) for model in models]

    return await asyncio.to_thread(read)


def listed(
    stored: Sequence[StoredModel],
    offered: Sequence[ModelSpec],
    aliases: Mapping[str, Alias],
    loaded: Mapping[str, LoadedModel],
    *,
    outline: Callable[[StoredModel], Outline | None],
) -> list[Model]:
    """What the store has, what backends offer by themselves, and the aliases of both, each as what it leads to.

    `loaded` is keyed by the digest of the weights, or by the name of a model that has none; `outline` tells what the
    files of one say.
    """
    models = [_stored(model, outline(model), loaded.get(model.weights_digest)) for model in stored]
    models += [_offered(spec, loaded.get(spec.digest or spec.name)) for spec in offered]
    known = {_key(model.id): model for model in models}
    for name, alias in aliases.items():
        if _key(name) in known:  # the model goes before it
            continue
        if target := _follow(alias, aliases, known, {name}):
            models.append(replace(target, id=short_name(name), alias_of=short_name(alias.target)))
    return models


def _with_backend(resolver: Resolver, model: Model) -> Model:
    """`model` with what would serve it, or why nothing can."""
    try:
        return replace(model, backend=resolver.backend_of(model.id) if model.backend is UNSET else model.backend)
    except AiAdminError as error:  # none is installed; or it is gone, or damaged, since a moment ago
        return replace(model, problem=str(error))


def _follow(alias: Alias, aliases: Mapping[str, Alias], known: Mapping[Key, Model], passed: set[str]) -> Model | None:
    """The model an alias leads to, perhaps through other aliases, or its first fallback that is there; None for one
    that cannot be served."""
    for target in alias.targets:
        rest = target.partition("/")[2]  # `llamacpp/smollm2`: a backend's name may stand before it
        if model := known.get(_key(target)) or known.get(_key(rest)):
            return model
        further = find_alias(aliases, target)
        if further is not None and target not in passed:
            passed.add(target)
            if model := _follow(further, aliases, known, passed):
                return model
    return None


def _key(name: str) -> Key:
    """Equal for texts that name the same model."""
    try:
        return parse_name(name).key
    except InvalidName:
        return (name,)


def _stored(model: StoredModel, outline: Outline | None, loaded: LoadedModel | None) -> Model:
    n_ctx = (loaded.facts.n_ctx if loaded else 0) or model.info.n_ctx_train
    able = loaded.capabilities if loaded else None
    can = abilities(able) if able else foretold(outline) if outline else []
    return Model(
        id=short_name(model.name),
        created=int(model.modified_at),
        owned_by=model.name.rpartition("/")[0] or "library",
        format=model.format,
        quantization=model.info.quantization or UNSET,
        context_length=n_ctx or UNSET,
        max_output_tokens=UNSET if {"embedding", "rerank"} & {*can[:1]} else _longest_answer(n_ctx),
        backend=loaded.backend if loaded else UNSET,
        capabilities=_in_their_words(can) or UNSET,
        loaded=loaded is not None,
    )


def _offered(spec: ModelSpec, loaded: LoadedModel | None) -> Model:
    facts = loaded.facts if loaded else ModelFacts()
    able = loaded.capabilities if loaded else None
    return Model(
        id=short_name(spec.name),
        created=0,
        owned_by="library",
        format=spec.format,
        quantization=facts.quantization or UNSET,
        context_length=facts.n_ctx or UNSET,
        max_output_tokens=_longest_answer(facts.n_ctx) if able is None or able.generates else UNSET,
        backend=loaded.backend if loaded else UNSET,
        capabilities=_in_their_words(abilities(able)) if able else UNSET,
        loaded=loaded is not None,
    )


_ALSO = {
    "json_object": "json",
    "json_schema": "json",
    "thinking": "reasoning",
    "embedding": "embeddings",
    "insert": "infill",
}
"""Words of OpenAI's clients for what Ollama's call something else: both are told."""


def _in_their_words(found: Sequence[str]) -> list[str]:
    """What a client may want to know before it asks, in the words that are usual for it."""
    return list(dict.fromkeys([*found, *(_ALSO[name] for name in found if name in _ALSO)]))


def _longest_answer(n_ctx: int) -> int | UnsetType:
    return n_ctx - 1 if n_ctx > 1 else UNSET
