"""Draft models: small ones that guess tokens for another, which names them as its `draft_model`. Used by the
resolver."""

from msgspec.structs import replace

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import ModelFile, ModelSpec

from ..store.store import ModelStore


def with_draft(spec: ModelSpec, name: str | None, store: ModelStore) -> ModelSpec:
    """`spec` with the files of the model that `name` names, with the role "draft". Reads the disk. Raises `BadRequest`
    where there is none, or none that goes with it."""
    if name is None:
        return spec
    model = store.find(name)
    if model is None:
        raise BadRequest(
            f"'draft_model': '{name[:100]}' is no model here.",
            hint=f"`aiadmin pull {name[:100]}` fetches it; `aiadmin set {spec.name} --unset draft_model` does without.",
            param="draft_model",
        )
    parts = [file for file in model.files if file.role == "model"]
    if model.format != spec.format or not parts:
        raise BadRequest(
            f"'draft_model': '{model.name}' ({model.format}) cannot guess for '{spec.name}' ({spec.format}).",
            hint="Both have to be files of one format.",
            param="draft_model",
        )
    return replace(spec, files=(*spec.files, *map(_as_draft, parts)))


def _as_draft(file: ModelFile) -> ModelFile:
    return replace(file, role="draft")
