"""LoRA adapters: small files that change what a model says, by the model that they came with. Used by the resolver.

A model that was made with adapters is its base and them: it is opened as the base, so that both share an engine, and
each request brings the adapters along.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import ModelFile, ModelSpec
from aiadmin_core.specs.request import Adapter, NamedAdapter

from ..store.store import ModelStore


class LoadedFrom(Struct, frozen=True, kw_only=True):
    """An adapter, and the file it is in."""

    adapter: Adapter
    path: str
    """Absolute."""


def without_adapters(spec: ModelSpec) -> tuple[ModelSpec, tuple[LoadedFrom, ...]]:
    """The model itself, and the adapters it was made with. Pure."""
    own = tuple(_loaded_from(file, 1.0) for file in spec.files if file.role == "adapter")
    if not own:
        return spec, ()
    return replace(spec, files=tuple(file for file in spec.files if file.role != "adapter")), own


def adapters_of(wanted: Iterable[NamedAdapter], store: ModelStore) -> tuple[LoadedFrom, ...]:
    """Those of the models that are named. Reads the disk. Raises `BadRequest` for a name without any."""
    found: list[LoadedFrom] = []
    for one in wanted:
        model = store.find(one.name)
        files = [file for file in model.files if file.role == "adapter"] if model is not None else []
        if not files:
            why = "has no adapters" if model is not None else "is no model here"
            raise BadRequest(
                f"'lora': '{one.name[:100]}' {why}.",
                hint="Make a model with one: a Modelfile with FROM and ADAPTER, and `aiadmin create`.",
                param="lora",
            )
        found += [_loaded_from(file, one.scale) for file in files]
    return tuple(found)


def _loaded_from(file: ModelFile, scale: float) -> LoadedFrom:
    return LoadedFrom(adapter=Adapter(digest=file.digest or file.path, scale=scale), path=file.path)
