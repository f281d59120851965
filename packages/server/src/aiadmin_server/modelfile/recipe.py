"""What a model is to be made of, whether a Modelfile says so or the fields of `/api/create`."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from aiadmin_core.specs.content import Message


class Recipe(Struct, frozen=True, kw_only=True):
    """None leaves what the base brings as it is; an empty text takes it away."""

    bases: tuple[str, ...] = ()
    """A model's name, or paths: of GGUF files (a model and its projector) or of a folder of safetensors."""
    files: Mapping[str, str] = {}
    """Instead of `bases`: digests of files that were uploaded, by their names in the model."""
    adapters: tuple[str, ...] = ()
    """Paths of LoRA adapters that fit the base, or digests of what was uploaded."""
    parameters: Mapping[str, Any] = {}
    """By Ollama's names, over those of the base."""
    template: str | None = None
    """In Jinja or in Go's language."""
    system: str | None = None
    messages: tuple[Message, ...] | None = None
    licenses: tuple[str, ...] = ()
    """Added to those of the base."""
    about: Mapping[str, str] = {}
    """See `FetchedModel.about`."""
    quantize: str = ""
    """`Q4_K_M`: the weights are made smaller."""
