"""States whose keys change their type."""

import struct

import numpy as np
import pytest

from aiadmin_llamacpp.native.key_types import NUMBERS, with_keys

N_CELLS, N_LAYERS, WIDTH = 3, 2, 4


def state_of(keys, number, *, n_streams=1, transposed=0):
    """As llama.cpp writes it: `keys` are uint16[layers, cells, width], values are zeros."""
    parts = [struct.pack("<IiII", 0xA1, 7, n_streams, N_CELLS)]
    parts += [struct.pack("<iIi", position, 1, 7) for position in range(N_CELLS)]
    parts.append(struct.pack("<II", transposed, N_LAYERS))
    parts += [struct.pack("<iQ", number, 2 * WIDTH) + layer.tobytes() for layer in keys]
    parts += [struct.pack("<iQ", NUMBERS["f16"], 2 * WIDTH) + bytes(2 * WIDTH * N_CELLS)] * N_LAYERS
    return np.frombuffer(b"".join(parts), np.uint8)


@pytest.fixture
def keys():
    rng = np.random.default_rng(5)
    return rng.normal(size=(N_LAYERS, N_CELLS, WIDTH)).astype(np.float32)


def as_bf16(numbers):
    return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_f16_keys_become_the_nearest_bf16(keys):
    found = with_keys(state_of(keys.astype(np.float16).view(np.uint16), NUMBERS["f16"]), "bf16")

    rows = found.view(np.uint8)[-len(found) :]
    expected = state_of(as_bf16(keys), NUMBERS["bf16"])
    assert len(found) == len(expected)
    at = 16 + 12 * N_CELLS + 8 + 12
    numbers = (rows[at : at + 2 * WIDTH * N_CELLS].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert np.allclose(numbers, keys[0].ravel(), rtol=2**-8)
    assert struct.unpack_from("<i", found.data, at - 12) == (NUMBERS["bf16"],)


def test_what_bf16_can_hold_comes_back_as_it_was(keys):
    before = state_of(as_bf16(keys), NUMBERS["bf16"])

    there = with_keys(before, "f16")
    assert struct.unpack_from("<i", there.data, 16 + 12 * N_CELLS + 8) == (NUMBERS["f16"],)
    assert np.array_equal(with_keys(there, "bf16"), before)
    assert np.array_equal(with_keys(before, "bf16"), before)


def test_a_state_of_another_form_is_not_touched(keys):
    good = keys.astype(np.float16).view(np.uint16)
    assert with_keys(state_of(good, 8), "bf16") is None
    assert with_keys(state_of(good, NUMBERS["f16"], n_streams=2), "bf16") is None
    assert with_keys(state_of(good, NUMBERS["f16"], transposed=1), "bf16") is None
    whole = state_of(good, NUMBERS["f16"])
    for n in (0, 10, 40, 60, 90):
        assert with_keys(whole[:n], "bf16") is None
