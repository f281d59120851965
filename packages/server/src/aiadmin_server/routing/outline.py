"""What a stored model's files tell of what it can do, before it is loaded: read once, and kept by its digest."""

import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from aiadmin_core.backend import Backend, Foretells, ModelInfo
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import ModelFile

from ..store.layout import laid_out
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
    able: Capabilities = Capabilities()
    """What its backend foretells of any model that generates."""


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
            self._known[key] = outline_of(model, *_read(model, backends))
        return self._known[key]


def outline_of(model: StoredModel, header: ModelInfo | None, able: Capabilities | None = None) -> Outline | None:
    """Of a model that has this header. Pure."""
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
        able=able or Capabilities(),
    )


def _read(model: StoredModel, backends: Mapping[str, Backend]) -> tuple[ModelInfo | None, Capabilities | None]:
    """A model's header, and what the backend that can read it foretells."""
    with tempfile.TemporaryDirectory() as folder:
        if model.format == "safetensors":
            files = ((file.name or Path(file.path).name, Path(file.path)) for file in model.files)
            with contextlib.suppress(OSError):
                laid_out(files, Path(folder))
        for backend in backends.values():
            header = header_of(model.files[:1], [backend]) or _inspected(backend, Path(folder))
            if header is not None:
                return header, backend.foretell() if isinstance(backend, Foretells) else None
    return None, None


def header_of(files: Iterable[ModelFile], backends: Iterable[Backend]) -> ModelInfo | None:
    """What the header of the first of `files` says that a backend can read."""
    found = (_inspected(backend, Path(file.path)) for file in files for backend in backends)
    return next((info for info in found if info), None)


def _inspected(backend: Backend, path: Path) -> ModelInfo | None:
    with contextlib.suppress(Exception):  # a broken file, or a plugin that may raise anything
        return backend.inspect(path)
    return None
