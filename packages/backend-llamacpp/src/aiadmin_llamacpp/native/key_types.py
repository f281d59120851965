"""States of sequences from a context with keys of one type, for a context with keys of another. Pure.

A state is what `llama_state_seq_get_data` writes (`state_seq_get_data` in llama-context.cpp and
`llama_kv_cache::state_write` in llama-kv-cache.cpp of the vendored sources), of one sequence in a unified cache: its
cells, then for each layer the type of the keys, the bytes of a row and the rows, then the values likewise. BF16 and F16
take two bytes each, so that nothing moves.
"""

import struct
from typing import Literal

import numpy as np
import numpy.typing as npt

from aiadmin_core.cache.parking import State

KeyType = Literal["f16", "bf16"]

NUMBERS: dict[KeyType, int] = {"f16": 1, "bf16": 30}  # ggml_type in ggml.h

_HEAD = struct.Struct("<IiII")  # magic, sequence, streams, cells
_CELL = struct.Struct("<iIi")  # position, number of sequences, the sequence
_LAYERS = struct.Struct("<II")  # whether values are transposed, number of layers
_LAYER = struct.Struct("<iQ")  # type, bytes of a row


def with_keys(state: State, wanted: KeyType) -> State | None:
    """A copy of `state` whose keys are `wanted`, rounded to the nearest; None where it is not what is described above
    (a build of another format, positions of images)."""
    converted = state.copy()
    data, target = state.data, converted.data
    try:
        _, _, n_streams, n_cells = _HEAD.unpack_from(data)
        at = _HEAD.size + n_cells * _CELL.size
        transposed, n_layers = _LAYERS.unpack_from(data, at)
        at += _LAYERS.size
        if n_streams != 1 or transposed or not n_layers:
            return None
        for _ in range(n_layers):
            number, row = _LAYER.unpack_from(data, at)
            start, at = at + _LAYER.size, at + _LAYER.size + n_cells * row
            if number not in NUMBERS.values() or at > len(state):
                return None
            if number != NUMBERS[wanted]:
                _LAYER.pack_into(target, start - _LAYER.size, NUMBERS[wanted], row)
                keys = state[start:at].view(np.uint16)
                converted[start:at] = (_to_bf16(keys) if wanted == "bf16" else _to_f16(keys)).view(np.uint8)
    except struct.error:
        return None
    return converted


def _to_bf16(f16: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    bits = f16.view(np.float16).astype(np.float32).view(np.uint32)
    bits += 0x7FFF + (bits >> 16 & 1)  # half of the last place that stays, ties to even
    return (bits >> 16).astype(np.uint16)


def _to_f16(bf16: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    with np.errstate(over="ignore"):  # beyond F16's range: llama.cpp's own F16 keys would be infinite as well
        return (bf16.astype(np.uint32) << 16).view(np.float32).astype(np.float16).view(np.uint16)
