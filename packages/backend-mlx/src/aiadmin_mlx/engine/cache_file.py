"""The caches of a sequence as bytes: mlx-lm's own file of them (`save_prompt_cache`: safetensors), made in memory."""

import io
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import load_prompt_cache, save_prompt_cache

from aiadmin_core.cache.parking import State


class _File(io.BytesIO):
    name = "caches.safetensors"  # `mx.load` tells the format by it


def encode(caches: list[Any]) -> State | None:
    """None where mlx-lm cannot write this kind of cache."""
    file = _File()
    try:
        save_prompt_cache(file, caches)
    except (RuntimeError, TypeError, ValueError, AttributeError):  # the first is MLX's, of memory that it does not get
        return None
    return np.frombuffer(file.getvalue(), np.uint8)


def decode(state: State) -> list[Any] | None:
    """None for what another version of mlx-lm wrote and this one cannot read. `state` is what was written: its checksum
    was right."""
    try:
        caches: list[Any] = load_prompt_cache(_File(state.tobytes()))
        mx.eval([cache.state for cache in caches])
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError):
        return None
    return caches
