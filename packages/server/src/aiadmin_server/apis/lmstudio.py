"""What clients of LM Studio ask to find out which models there are: `/api/v0/models`
(https://lmstudio.ai/docs/app/api/endpoints/rest). They converse under `/v1`, as OpenAI's do.
"""

import asyncio
from collections.abc import Iterator

from litestar import get
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.errors import AiAdminError, ModelNotFound

from ..http.openapi import described
from ..routing.entry import LoadedModel
from ..routing.resolver import Resolver
from ..serving.dependencies import ResolverDependency, RouterDependency
from ..store.names import short_name
from ..store.store import StoredModel
from . import Api, tell_plainly


class ModelListed(Struct, frozen=True, kw_only=True):
    """One name of a model."""

    id: str
    object: str = "model"
    type: str
    """`llm`, `vlm` or `embeddings`."""
    publisher: str
    arch: str
    compatibility_type: str
    """The format of its files: `gguf`, `safetensors`."""
    quantization: str
    state: str
    """`loaded` or `not-loaded`."""
    max_context_length: int
    loaded_context_length: int | UnsetType = UNSET


class ModelsListed(Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[ModelListed]


@get("/api/v0/models", opt=described(response=ModelsListed))
async def models(resolver: ResolverDependency, router: RouterDependency) -> ModelsListed:
    """Every model of the store, and every alias of one."""
    loaded = {model.digest: model for model in router.loaded() if model.state == "ready"}
    return ModelsListed(data=await asyncio.to_thread(lambda: list(_listed(resolver, loaded))))


@get("/api/v0/models/{name:path}", opt=described(response=ModelListed))
async def model(name: FromPath[str], resolver: ResolverDependency, router: RouterDependency) -> ModelListed:
    """One of them, by any of its names."""
    wanted = name.removeprefix("/")
    loaded = {model.digest: model for model in router.loaded() if model.state == "ready"}
    found = await asyncio.to_thread(lambda: resolver.store.find(resolver.explain(wanted).resolved))
    if found is None:
        raise ModelNotFound(wanted)
    return _one(wanted, found, loaded)


def _listed(resolver: Resolver, loaded: dict[str, LoadedModel]) -> Iterator[ModelListed]:
    stored = {model.name: model for model in resolver.store.models()}
    for name, found in stored.items():
        yield _one(short_name(name), found, loaded)
    for name in resolver.aliases.all():
        try:
            resolved = resolver.explain(name).resolved
        except AiAdminError:  # it leads nowhere, or is a pattern
            continue
        if resolved in stored and resolver.store.find(name) is None:
            yield _one(name, stored[resolved], loaded)


def _one(name: str, found: StoredModel, loaded: dict[str, LoadedModel]) -> ModelListed:
    running = loaded.get(found.weights_digest)
    able = running.capabilities if running else None
    embeds = not able.generates if able else found.info.architecture.endswith("bert")
    sees = any(file.role == "projector" for file in found.files)
    return ModelListed(
        id=name,
        type="embeddings" if embeds else "vlm" if sees else "llm",
        publisher=found.origin.partition(":")[0] or "local",
        arch=found.info.architecture,
        compatibility_type=found.format,
        quantization=found.info.quantization,
        state="loaded" if running else "not-loaded",
        max_context_length=found.info.n_ctx_train,
        loaded_context_length=running.facts.n_ctx if running else UNSET,
    )


API = Api(name="lmstudio", title="", paths=("/api/v0",), routes=(models, model), envelope=tell_plainly)
