"""Models as Ollama's clients are told of them. Pure, but for `projector_info_of`. Used by `tags`, `show`, `loaded`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.backend import Backend, ModelInfo
from aiadmin_core.specs.capabilities import Capabilities

from ...routing.entry import LoadedModel
from ...routing.outline import Outline, header_of
from ...serving.abilities import abilities, foretold
from ...store.manifest import human_count
from ...store.model import StoredModel


class Details(Struct, frozen=True, kw_only=True):
    """What kind of model it is; "" where nobody knows."""

    parent_model: str = ""
    """Of which it was made here."""
    format: str = ""
    family: str = ""
    families: list[str] | None = None
    parameter_size: str = ""
    """For people: `134.52M`."""
    quantization_level: str = ""
    context_length: int | UnsetType = UNSET
    """What it was trained for."""
    embedding_length: int | UnsetType = UNSET


def details_of(model: StoredModel) -> Details:
    info = model.info
    return Details(
        parent_model=model.made_of,
        format=model.format,
        family=info.architecture,
        families=[info.architecture] if info.architecture else None,
        parameter_size=info.parameter_size,
        quantization_level=info.quantization,
        context_length=info.n_ctx_train or UNSET,
        embedding_length=info.n_embd or UNSET,
    )


def details_of_loaded(model: LoadedModel) -> Details:
    """Of one that is not in the store."""
    facts = model.facts
    return Details(
        family=facts.architecture,
        families=[facts.architecture] if facts.architecture else None,
        parameter_size=human_count(facts.n_params),
        quantization_level=facts.quantization,
        context_length=facts.n_ctx_train or UNSET,
        embedding_length=facts.n_embd or UNSET,
    )


def bare(digest: str) -> str:
    """A digest as Ollama writes it."""
    return digest.removeprefix("sha256:")


def timestamp(unix_s: float) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def projector_info_of(model: StoredModel, backends: Iterable[Backend]) -> dict[str, Any]:
    """The same of the file that reads images for it; nothing where there is none."""
    header = header_of([file for file in model.files if file.role == "projector"], backends)
    metadata = dict((header.metadata if header else None) or {})
    return {key: None if isinstance(value, list | tuple) else value for key, value in metadata.items()}


def abilities_of(able: Capabilities) -> list[str]:
    """As its engine says. What only converses completes, too: to Ollama's clients that is to generate."""
    found = abilities(able)
    return ["completion", *found] if able.generates and "completion" not in found else found


def capabilities_of(outline: Outline | None, loaded: LoadedModel | None) -> list[str]:
    """What it can do: as its engine says while it is loaded, else as far as its files tell, if they do."""
    if loaded is not None and loaded.capabilities is not None:
        return abilities_of(loaded.capabilities)
    return foretold(outline) if outline is not None else []


def model_info_of(model: StoredModel, header: ModelInfo | None, *, verbose: bool) -> dict[str, Any]:
    """The header's keys and values, long lists left out unless `verbose`; what the store knows where there is none."""
    info = model.info
    known: Mapping[str, Any] = {
        "general.architecture": info.architecture,
        "general.parameter_count": (header.n_params if header else 0) or info.n_params,
        f"{info.architecture}.context_length": info.n_ctx_train,
        f"{info.architecture}.embedding_length": info.n_embd,
    }
    told = {key: value for key, value in known.items() if value} if info.architecture else {}
    metadata = dict((header.metadata if header else None) or {})
    template = metadata.pop("tokenizer.chat_template", None)  # it is told as `template`
    del template
    return told | {
        key: None if isinstance(value, list | tuple) and not verbose else value for key, value in metadata.items()
    }
