"""How much memory a model may take. The plan is a pure function; `available_bytes` asks the system."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.context import context_length
from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.memory import machine_memory
from aiadmin_core.specs.model import EngineOptions

from .safetensors import trained_context

_MIN_CONTEXT = 256
"""A model whose cache cannot hold this many tokens is refused."""

_CACHE_SHARE = 0.25
_MAX_CACHE_BYTES = 4 << 30
"""Of what the weights leave free, the share (and most bytes) that prefixes kept between requests may take."""

_COMPUTE_SHARE = 0.2
"""Of what the weights leave free, the share left for activations and the system."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What the free memory is used for."""

    n_ctx: int
    """Tokens one sequence may have."""
    n_cells: int
    """Tokens all running sequences may have together."""
    prompt_cache_bytes: int
    n_kept: int = 0
    """Tokens that kept prefixes may have; 0 where they are not what takes the memory."""


PROCESS_BYTES = 250_000_000
"""Python, mlx and mlx-lm, before a model is loaded."""
_EXPECTED_N_CTX = 8192
"""The cache grows with what is asked, up to what `plan` leaves: so much of it is counted on beforehand."""


def estimate(
    language: Mapping[str, Any], options: EngineOptions, *, weights_bytes: int, separate: bool
) -> MemoryEstimate:
    """What a model of this config.json will take of the machine's memory. `separate`: its device has memory of its own.

    Keys and values are kept in 16 bits.
    """
    if separate:
        return MemoryEstimate(compute_bytes=PROCESS_BYTES)

    def whole(*keys: str) -> int:
        return next((language[key] for key in keys if isinstance(language.get(key), int)), 0)

    n_heads = max(1, whole("num_attention_heads", "n_head"))
    head = whole("head_dim") or whole("hidden_size", "n_embd") // n_heads
    per_token = whole("num_hidden_layers", "n_layer") * (whole("num_key_value_heads") or n_heads) * head * 2 * 2
    trained = trained_context(language)
    n_ctx = min(context_length(options, trained=trained, unasked=_EXPECTED_N_CTX), _EXPECTED_N_CTX)
    return MemoryEstimate(
        weights_bytes=weights_bytes,
        cache_bytes=n_ctx * per_token,
        compute_bytes=PROCESS_BYTES,
        n_ctx=n_ctx,
        is_certain=True,
    )


def check_weights(name: str, *, weights_bytes: int, limit_bytes: int) -> None:
    """Refuse weights that cannot fit, with both numbers. Raises `ModelLoadFailed`."""
    if weights_bytes > limit_bytes:
        raise ModelLoadFailed(
            f"{name} does not fit: its weights take {gigabytes(weights_bytes)}, "
            f"{gigabytes(limit_bytes)} of memory are available.",
            hint="Unload other models (`aiadmin ps`, `aiadmin stop`), or use a smaller or more quantised model.",
        )


def plan(
    name: str, *, free_bytes: int, bytes_per_token: int, n_ctx: int, n_parallel: int, prompt_cache_bytes: int | None
) -> MemoryPlan:
    """Divide what the weights leave free between running sequences and kept prefixes.

    A model whose cache does not grow (`bytes_per_token` 0) gets all it asks for. Raises `ModelLoadFailed` where not
    even a short context fits.
    """
    if prompt_cache_bytes is None:
        prompt_cache_bytes = min(int(free_bytes * _CACHE_SHARE), _MAX_CACHE_BYTES)
    wanted = n_ctx * n_parallel
    if not bytes_per_token:
        return MemoryPlan(n_ctx=n_ctx, n_cells=wanted, prompt_cache_bytes=prompt_cache_bytes)
    room = max(0, int(free_bytes * (1 - _COMPUTE_SHARE)) - prompt_cache_bytes) // bytes_per_token
    if room < min(n_ctx, _MIN_CONTEXT):
        raise ModelLoadFailed(
            f"{name} does not fit: beside its weights {gigabytes(free_bytes)} of memory are left, and "
            f"{_MIN_CONTEXT} tokens of context take {gigabytes(_MIN_CONTEXT * bytes_per_token)}.",
            hint="Unload other models (`aiadmin ps`, `aiadmin stop`), or use a smaller or more quantised model.",
        )
    return MemoryPlan(
        n_ctx=min(n_ctx, room),
        n_cells=min(wanted, room),
        prompt_cache_bytes=prompt_cache_bytes,
        n_kept=prompt_cache_bytes // bytes_per_token,
    )


def available_bytes(device_info: dict[str, Any]) -> int:
    """Memory a model may take now: what the system has left, no more than the container's limit leaves, and on Apple
    silicon no more of the unified memory than Metal recommends. `device_info` is `mlx.core.device_info()`."""
    machine = machine_memory()
    candidates = [machine.available if machine is not None else psutil.virtual_memory().available]
    if recommended := device_info.get("max_recommended_working_set_size"):
        candidates.append(int(recommended))
    return min(candidates)


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process(os.getpid()).memory_info().rss)


def gigabytes(n_bytes: int) -> str:
    """ "1.25 GB" """
    return f"{n_bytes / 1e9:.2f} GB"
