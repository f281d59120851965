"""What is known of a model once it is open. Used by what opens it."""

from collections.abc import Sequence

from aiadmin_core.specs.model import ModelFacts

from .. import gguf
from ..native.model import Model

SAFE_MODE_NOTE = "safe mode: weights are not repacked for this processor (no AMX)"


def model_facts(model: Model, *, n_ctx: int, device: str, notes: Sequence[str]) -> ModelFacts:
    file_type = model.metadata("general.file_type") or ""
    return ModelFacts(
        architecture=model.metadata("general.architecture") or "",
        n_params=model.n_params,
        n_ctx=n_ctx,
        n_ctx_train=model.n_ctx_train,
        n_vocab=model.n_vocab,
        n_embd=model.n_embd,
        size_bytes=model.size_bytes,
        quantization=gguf.FILE_TYPES.get(int(file_type), "") if file_type.isdecimal() else "",
        device=device,
        notes=tuple(notes),
    )
