"""A GGUF's tensors under the names and in the order of dimensions that Hugging Face's files have. Pure.

llama.cpp wants the dimensions that are rotated together side by side, Hugging Face in two halves: rows of the query and
key matrices are put back (`LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py is what made them so).
"""

from typing import Any

import numpy as np

from aiadmin_core.errors import ModelLoadFailed

Array = np.ndarray[Any, np.dtype[Any]]

_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
ROPE_FACTORS = "rope_freqs.weight"


def name_of(name: str) -> str | None:
    """Hugging Face's name of a tensor; None for one that the config says instead. Raises `ModelLoadFailed`."""
    if name == ROPE_FACTORS:
        return None
    stem, _, kind = name.rpartition(".")
    parts = stem.split(".")
    if kind in ("weight", "bias"):
        if len(parts) == 3 and parts[0] == "blk" and parts[2] in _LAYER:
            return f"model.layers.{parts[1]}.{_LAYER[parts[2]]}.{kind}"
        if stem in _WHOLE:
            return f"{_WHOLE[stem]}.{kind}"
    raise ModelLoadFailed(
        f"The file has a tensor '{name}', which MLX's llama has no place for.",
        hint="Serve it with llama.cpp: `pip install aiadmin-backend-llamacpp`.",
    )


def n_heads_of(name: str, n_heads: int, n_kv_heads: int) -> int:
    """Heads whose rows have to be put back in order; 0 for tensors that are not rotated."""
    return {"attn_q": n_heads, "attn_k": n_kv_heads}.get(name.split(".")[2] if name.startswith("blk.") else "", 0)


def unpermute(weights: Array, n_heads: int) -> Array:
    """Pairs of rows side by side become two halves, in each head."""
    return weights.reshape(n_heads, -1, 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def to_bfloat16(weights: Array) -> Array:
    """float32 rounded to the nearest bfloat16, ties to even, as uint16."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def llama3_scaling(factors: Array, *, base: float) -> dict[str, Any]:
    """How config.json says what `factors`, by which the frequencies of rotation are divided, say one by one. Raises
    `ModelLoadFailed` where they are no Llama 3's (transformers' `_compute_llama3_parameters`)."""
    factor = float(factors.max())
    said = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    n = len(factors)
    wavelengths = 2 * np.pi * base ** (np.arange(n) / n)
    smooth = np.clip((8192 / wavelengths - 1.0) / (4.0 - 1.0), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if not np.allclose(expected, factors, rtol=1e-3):
        raise ModelLoadFailed(
            "The file scales positions in a way of its own, which MLX's llama does not know.",
            hint="Serve it with llama.cpp: `pip install aiadmin-backend-llamacpp`.",
        )
    return said
