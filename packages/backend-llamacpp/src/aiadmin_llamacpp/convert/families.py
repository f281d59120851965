"""What the families of decoders call their tensors and settings, in Hugging Face's folders and in GGUF. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiadmin_core.errors import BadRequest

from .tensors import count

_OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LEFT_OUT = ("rotary_emb.inv_freq", "attention.masked_bias", "attention.bias")
"""Ends of names of what is computed, not learnt."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture of llama.cpp."""

    name: str
    pairs: bool
    """Rotary dimensions lie side by side in the GGUF, not in two halves."""


FAMILIES = {
    "llama": Family(name="llama", pairs=True),
    "mistral": Family(name="llama", pairs=True),
    "qwen2": Family(name="qwen2", pairs=False),
    "qwen3": Family(name="qwen3", pairs=False),
}
"""By `model_type` of config.json."""


def family_of(config: Mapping[str, Any]) -> Family:
    """Raises `BadRequest` for a family that is not converted."""
    kind = config.get("model_type")
    if kind in FAMILIES:
        return FAMILIES[kind]
    known = ", ".join(sorted({*FAMILIES, "bert"}))
    raise BadRequest(
        f"Models of the family '{kind}' are not converted to GGUF here.",
        hint=f"Those of {known} are. Take a GGUF of the model, or serve the folder with the MLX backend.",
        param="from",
    )


def gguf_name(name: str) -> str | None:
    """Of a tensor; None for one that is not learnt. Raises `BadRequest` for one that has no place."""
    if name in _OUTER:
        return _OUTER[name]
    if name.endswith(_LEFT_OUT):
        return None
    stem, _, kind = name.removeprefix("model.layers.").rpartition(".")
    layer, _, rest = stem.partition(".")
    if name.startswith("model.layers.") and layer.isdecimal() and rest in _LAYER and kind in ("weight", "bias"):
        return f"blk.{layer}.{_LAYER[rest]}.{kind}"
    raise BadRequest(
        f"The tensor '{name[:100]}' has no place in a model of its family.",
        hint="Adapters and quantized folders are not converted; take the model they were made of.",
        param="from",
    )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a decoder's config.json says."""

    n_layers: int
    n_embd: int
    n_hidden: int
    n_heads: int
    n_kv_heads: int
    n_head_dims: int
    n_ctx: int
    n_vocab: int
    rms_eps: float
    rope_base: float
    rope: Mapping[str, Any]
    """`rope_scaling` of the folder, {} for none."""


def sizes_of(config: Mapping[str, Any]) -> Sizes:
    """Raises `BadRequest` for a number that is missing, or a variant that llama.cpp would compute otherwise."""
    n_heads, n_embd = count(config, "num_attention_heads"), count(config, "hidden_size")
    n_kv_heads = count(config, "num_key_value_heads") if config.get("num_key_value_heads") is not None else n_heads
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        raise BadRequest(f"This model has hidden_act {config['hidden_act']!r}; only 'silu' can be converted.")
    if n_heads % n_kv_heads:
        raise BadRequest(f"This model's {n_heads} heads are no multiple of its {n_kv_heads} for keys and values.")
    n_ctx, window = count(config, "max_position_embeddings"), config.get("sliding_window")
    if isinstance(window, int) and window > 0 and config.get("use_sliding_window", True):
        n_ctx = min(n_ctx, window)  # beyond, the GGUF's attention would not be the model's
    parameters = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or parameters
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in ("default", "linear", "llama3", "yarn"):
        raise BadRequest(f"This model scales positions by {kind!r}, which is not converted.", param="from")
    return Sizes(
        n_layers=count(config, "num_hidden_layers"),
        n_embd=n_embd,
        n_hidden=count(config, "intermediate_size"),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        n_head_dims=count(config, "head_dim") if config.get("head_dim") is not None else n_embd // n_heads,
        n_ctx=n_ctx,
        n_vocab=count(config, "vocab_size"),
        rms_eps=float(config.get("rms_norm_eps", 1e-6)),
        rope_base=float(config.get("rope_theta") or parameters.get("rope_theta") or 10_000.0),
        rope={} if kind == "default" else {**scaling, "rope_type": kind},
    )


def rope_factors(sizes: Sizes) -> list[float]:
    """By what Llama 3.1's scaling divides each rotary frequency; none for other scalings. As in transformers'
    `_compute_llama3_parameters`."""
    rope = sizes.rope
    if rope.get("rope_type") != "llama3":
        return []
    factor, low, high = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    n_old = float(rope.get("original_max_position_embeddings", 8192))
    factors: list[float] = []
    for index in range(0, sizes.n_head_dims, 2):
        wavelength = 2 * 3.141592653589793 * sizes.rope_base ** (index / sizes.n_head_dims)
        if wavelength < n_old / high:
            factors.append(1.0)
        elif wavelength > n_old / low:
            factors.append(factor)
        else:
            smooth = (n_old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
