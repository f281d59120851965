"""What a stored model's files tell of what it can do, before it is loaded: read once, and kept by its digest."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from aiadmin_core.backend import Backend, ModelInfo
from aiadmin_core.specs.model import ModelFile

from ..store.model import StoredModel

MOST_KEPT = 4096
RANK = 4
"""`pooling_type` of models that rank documents: `llama_pooling_type` in llama.h."""


class Outline(Struct, frozen=True, kw_only=True):
    """Of one model."""

    template: str = ""
    """Its chat template; "" without one."""
    embeds: bool = False
    """Whether it only reads, for a vector of its text; the next one, for a number."""
    ranks: bool = False
    fills_gaps: bool = False
    """Whether its vocabulary has tokens that stand around a gap in a text."""
    has_projector: bool = False
    """Whether it has a file that reads images for it."""


class Outlines:
    """Used from worker threads; each model is read by the first that asks."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Outline | None] = {}

    def of(self, model: StoredModel, backends: Mapping[str, Backend]) -> Outline | None:
        """Reads the header of its first file, the first time. None where no backend can, and for what another server
        has."""
        key = (model.name, model.digest)
        if key not in self._known:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[key] = outline_of(model, header_of(model.files[:1], backends.values()))
        return self._known[key]


def outline_of(model: StoredModel, header: ModelInfo | None) -> Outline | None:
    """Of a model whose first file has this header. Pure."""
    if header is None or header.format == "remote":
        return None
    template = model.template or header.chat_template or ""
    metadata = header.metadata or {}
    pooling = metadata.get(f"{header.architecture}.pooling_type")
    reads = not template and (pooling is not None or header.architecture.endswith("bert"))
    return Outline(
        template=template,
        embeds=reads and pooling != RANK,
        ranks=reads and pooling == RANK,
        fills_gaps=any(f"tokenizer.ggml.{name}_token_id" in metadata for name in ("fim_pre", "prefix")),
        has_projector=any(file.role == "projector" for file in model.files),
    )


def header_of(files: Iterable[ModelFile], backends: Iterable[Backend]) -> ModelInfo | None:
    """What the header of the first of `files` says that a backend can read."""
    for file in files:
        for backend in backends:
            with contextlib.suppress(Exception):  # a broken file, or a plugin that may raise anything
                if info := backend.inspect(Path(file.path)):
                    return info
    return None
