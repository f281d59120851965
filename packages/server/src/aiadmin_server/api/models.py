"""`GET /v1/models` and `GET /v1/models/{id}`: what can be asked for, aliases included."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aiadmin_core.errors import ModelNotFound

from ..store.aliases import Alias, Aliases
from ..store.names import same_name
from ..store.store import ModelStore, StoredModel
from .ports import LoadedModel, Router, RouterDependency


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
    backend: str | UnsetType = UNSET
    loaded: bool = False
    alias_of: str | UnsetType = UNSET


@get("/v1/models")
async def list_models(store: NamedDependency[SkipValidation[ModelStore]], router: RouterDependency) -> dict[str, Any]:
    """Every model of the store, newest first, and every alias."""
    return {"object": "list", "data": await _models(store, router)}


@get("/v1/models/{name:path}")
async def get_model(
    name: FromPath[str], store: NamedDependency[SkipValidation[ModelStore]], router: RouterDependency
) -> Model:
    """One model, by any spelling of its name."""
    wanted = name.removeprefix("/")
    found = next((model for model in await _models(store, router) if same_name(model.id, wanted)), None)
    if found is None:
        raise ModelNotFound(wanted)
    return found


async def _models(store: ModelStore, router: Router) -> list[Model]:
    loaded = {model.digest: model for model in router.loaded()}
    stored, aliases = await asyncio.to_thread(lambda: (store.models(), Aliases(store.aliases_path).all()))
    return describe(stored, aliases, loaded)


def describe(
    stored: Sequence[StoredModel], aliases: Mapping[str, Alias], loaded: Mapping[str, LoadedModel]
) -> list[Model]:
    """`loaded` is keyed by the digest of the weights. An alias is described by the model it leads to."""
    models = [_model(model, loaded.get(model.weights_digest)) for model in stored]
    for name, alias in aliases.items():
        target = next((model for model in models if same_name(model.id, alias.target)), None)
        known = target or Model(id=name, created=0, owned_by="library")
        models.append(replace(known, id=name, alias_of=alias.target))
    return models


def _model(model: StoredModel, loaded: LoadedModel | None) -> Model:
    facts = loaded.facts if loaded else None
    n_ctx = (facts.n_ctx if facts else 0) or model.info.n_ctx_train
    return Model(
        id=model.name,
        created=int(model.modified_at),
        owned_by=model.name.rpartition("/")[0] or "library",
        format=model.format,
        quantization=model.info.quantization or UNSET,
        context_length=n_ctx or UNSET,
        backend=loaded.backend if loaded else UNSET,
        loaded=loaded is not None,
    )
