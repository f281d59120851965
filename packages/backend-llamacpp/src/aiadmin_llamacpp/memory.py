"""What a GGUF will take in memory, from its header alone. Pure but for `estimate`; used by `backend`, in the server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.context import chosen_scaling, context_length, unasked_context
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from . import gguf
from .cache_type import CACHE_TYPES, fitting, unasked

DEFAULT_N_BATCH = 512

MOST_SECOND_BYTES = 2**28
"""Of a cache, for a model to have it twice where two contexts decode faster (`engine.side_by_side`)."""
SECOND_SHARE = 8
"""Part of the available memory that it may take."""
PROCESS_BYTES = 95_000_000
"""Python, numpy, llguidance and llama.cpp itself: 65 to 100 MB seen."""
TOKEN_BYTES = 300
"""Of each token of the vocabulary, which is kept as text by llama.cpp, by the engine and by llguidance. With these two,
SmolLM2 (327 MB, 318 measured) and Gemma 3 270M (543 and 561) are estimated within a tenth of what a runner has resident
after its first answer."""
N_OUTPUTS = 16
"""Tokens of a step that logits are computed for: the others' are reserved, and never touched."""
N_HIDDEN = 8
"""Activations of a layer that live at once, in widths of the model."""


def estimate(
    model: ModelSpec, options: EngineOptions, *, offloads: bool, available_bytes: int | None = None
) -> MemoryEstimate | None:
    """What `model` will take of the machine's memory; None where its header does not tell.

    `offloads`: whether this build of llama.cpp puts weights on a device with memory of its own. `available_bytes`: of
    the memory that the model comes into, None where that is unknown. Raises `BadRequest` for a broken file, `OSError`
    where it cannot be read.
    """
    file = model.file("model")
    if file is None:
        return None
    if offloads and options.n_gpu_layers != 0:
        return MemoryEstimate(compute_bytes=PROCESS_BYTES)
    if model.format != "gguf":  # a BERT, whose matrices become half as large and which has no cache
        weights = sum(part.size for part in model.files if part.role == "model")
        return MemoryEstimate(weights_bytes=weights, compute_bytes=PROCESS_BYTES, is_certain=not offloads)
    header = header_of(Path(file.path))
    weights = sum(part.size for part in model.files)
    shape = read_shape(header, options)
    n_ctx = shape.context(options, weights_bytes=weights, available_bytes=available_bytes)
    n_caches = _n_caches(n_ctx * shape.token_bytes, options, available_bytes)
    draft = _draft_shape(model, options)
    return MemoryEstimate(
        weights_bytes=weights,
        cache_bytes=n_ctx * (shape.token_bytes * n_caches + (draft.token_bytes if draft else 0)),
        compute_bytes=PROCESS_BYTES + shape.compute_bytes + (draft.compute_bytes if draft else 0),
        n_ctx=n_ctx,
        is_certain=not offloads,
    )


def _draft_shape(model: ModelSpec, options: EngineOptions) -> "Shape | None":
    """Of the model that guesses for it."""
    file = model.file("draft")
    return read_shape(header_of(Path(file.path)), options) if file is not None else None


def _n_caches(n_bytes: int, options: EngineOptions, available_bytes: int | None) -> int:
    """How many caches of that size there may be: whether a second one pays is known when the model is open. Beside a
    draft model there is one."""
    if options.draft_model:
        return 1
    return options.n_contexts or (2 if options.n_parallel is None and second_fits(n_bytes, available_bytes) else 1)


def second_fits(n_bytes: int, available_bytes: int | None) -> bool:
    """Whether a second cache of that size, which nobody asked for, is no matter."""
    return n_bytes <= MOST_SECOND_BYTES and (available_bytes is None or n_bytes <= available_bytes // SECOND_SHARE)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a model's header its memory depends on, with the options that it is to be opened with."""

    trained: int
    """Tokens of context; 0 is unknown."""
    token_bytes: int
    """Keys and values of one token in all layers; 0 where the model keeps none."""
    compute_bytes: int

    def context(self, options: EngineOptions, *, weights_bytes: int, available_bytes: int | None) -> int:
        """Tokens of context: as asked for, else what the available memory holds beside the weights."""
        used = weights_bytes + self.compute_bytes + PROCESS_BYTES
        free_bytes = None if available_bytes is None else available_bytes - used
        unasked = unasked_context(trained=self.trained, token_bytes=self.token_bytes, free_bytes=free_bytes)
        return context_length(options, trained=self.trained, unasked=unasked, scales=chosen_scaling(options) != "")


def read_shape(header: gguf.Header, options: EngineOptions) -> Shape:
    sizes = read_sizes(header)
    return Shape(
        trained=sizes.get("context_length", 0),
        token_bytes=0 if is_encoder(header) else cache_bytes(sizes, 1, options.kv_cache_type),
        compute_bytes=compute_bytes(sizes, options.n_batch or DEFAULT_N_BATCH),
    )


def header_of(path: Path) -> gguf.Header:
    """With what is written once for each layer, where it is. Raises as `gguf.read_header` does."""
    header = gguf.read_header(path)
    per_layer = f"{header.metadata.get('general.architecture')}.attention.head_count_kv"
    return header if per_layer in header.metadata else gguf.read_header(path, arrays=[per_layer])


def is_encoder(header: gguf.Header) -> bool:
    """Whether the model only reads, and keeps nothing of what it has read."""
    return header.metadata.get(f"{header.metadata.get('general.architecture')}.attention.causal") is False


def read_sizes(header: gguf.Header) -> dict[str, Any]:
    """The numbers of the architecture, without its name (`block_count`, `attention.head_count_kv`), and `n_vocab`."""
    prefix = f"{header.metadata.get('general.architecture')}."
    sizes = {
        key.removeprefix(prefix): value
        for key, value in header.metadata.items()
        if key.startswith(prefix) and (_is_count(value) or isinstance(value, list))
    }
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    sizes["n_vocab"] = embedding.shape[-1] if embedding and embedding.shape else 0
    return sizes


def cache_bytes(sizes: dict[str, Any], n_ctx: int, cache_type: str | None) -> int:
    """Of keys and values of `n_ctx` tokens. Layers without attention (`head_count_kv` 0) have none."""
    n_heads = sizes.get("attention.head_count") or 1
    n_heads = max(n_heads) if isinstance(n_heads, list) else n_heads
    head = sizes.get("embedding_length", 0) // max(1, n_heads)
    key, value = sizes.get("attention.key_length", head), sizes.get("attention.value_length", head)
    n_kv = sizes.get("attention.head_count_kv", n_heads)
    heads = n_kv if isinstance(n_kv, list) else [n_kv] * sizes.get("block_count", 0)
    cache_type = cache_type or fitting(unasked(), key_length=key, value_length=value)
    key_bytes, value_bytes = CACHE_TYPES[cache_type].n_bytes if cache_type in CACHE_TYPES else (2.0, 2.0)
    return int(n_ctx * sum(heads) * (key * key_bytes + value * value_bytes))


def compute_bytes(sizes: dict[str, Any], n_batch: int) -> int:
    """Scratch memory of the largest step (float32 logits, and the activations of one layer), and the vocabulary."""
    n_tokens = min(n_batch, DEFAULT_N_BATCH)
    feed_forward = sizes.get("feed_forward_length", 0)
    feed_forward = max(feed_forward, default=0) if isinstance(feed_forward, list) else feed_forward
    width = N_HIDDEN * sizes.get("embedding_length", 0) + 2 * feed_forward
    return int(4 * (N_OUTPUTS * sizes["n_vocab"] + n_tokens * width) + TOKEN_BYTES * sizes["n_vocab"])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
