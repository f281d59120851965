"""Opens models that only embed, or rank, and says how those that generate embed. Called by `opening`."""

from pathlib import Path

from aiadmin_core.embedder import N_SEQUENCES
from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from .. import gguf
from ..native.embedding import RANK, EmbeddingSettings
from ..native.model import Model
from .encoder import LlamaEncoderEngine
from .facts import SAFE_MODE_NOTE, model_facts
from .files import parts_of
from .threads import chosen_threads

MOST_BESIDE = 1024
"""Tokens of a text that a generating model embeds, unless more fit one of its own steps."""

MOST_ENCODED = 8192
"""Tokens of a text that an encoder embeds at once: it attends from each to each."""


def open_encoder(native: Model, model: ModelSpec, options: EngineOptions, *, device: str) -> LlamaEncoderEngine:
    """A model that only embeds, or ranks. Its positions end where its training did: beyond, llama.cpp aborts."""
    if native.pooling == RANK:
        _refuse_unranked(native, model)
    n_ctx = min(native.n_ctx_train or MOST_ENCODED, options.n_ctx or MOST_ENCODED)
    if not native.is_encoder:  # one made of a generating model: see `embedding_settings`
        n_ctx = min(n_ctx, max(MOST_BESIDE, options.n_batch or 0))
    settings = embedding_settings(options, n_ctx=n_ctx, beside=False)
    notes = (SAFE_MODE_NOTE,) if options.safe_mode else ()
    try:
        return LlamaEncoderEngine(native, settings, model_facts(native, n_ctx=n_ctx, device=device, notes=notes))
    except AiAdminError as error:
        raise ModelLoadFailed(f"The first text could not be embedded: {error.message}", hint=error.hint) from error


def _refuse_unranked(native: Model, model: ModelSpec) -> None:
    """llama.cpp would read past the numbers of a model without the part that ranks."""
    tensors = {tensor.name for path in parts_of(model) for tensor in gguf.read_header(Path(path)).tensors}
    if not tensors & {"cls.weight", "cls.output.weight"}:
        raise ModelLoadFailed(
            "The file says that the model ranks documents, and lacks the weights to do it (cls.output).",
            hint="Convert it again with a current convert_hf_to_gguf.py, or fetch another conversion.",
        )
    if native.n_classes != 1 and native.metadata("general.architecture") not in SOFTMAX:
        raise ModelLoadFailed(
            f"The model sorts texts into {native.n_classes} classes, it does not rank them.",
            hint="A model that ranks has one number for each document.",
        )


SOFTMAX = ("qwen3", "qwen3vl")
"""Architectures whose two classes (yes and no) llama.cpp makes probabilities (`build_pooling` in llama-graph.cpp)."""


def embedding_settings(
    options: EngineOptions, *, n_ctx: int, beside: bool, n_sequences: int = N_SEQUENCES
) -> EmbeddingSettings:
    """How texts of up to `n_ctx` tokens are embedded; `beside` a context that generates, half the threads are left to
    that one, and texts are shorter: llama.cpp computes the logits of all their tokens too, for nobody.
    Recurrent models have one text in a batch: each costs them a whole state."""
    n_threads = chosen_threads(options.n_threads)
    n_most = min(n_ctx, max(MOST_BESIDE, options.n_batch or 0)) if beside else n_ctx
    return EmbeddingSettings(
        n_most=n_most, n_sequences=n_sequences, n_threads=max(1, n_threads // 2) if beside else n_threads
    )
