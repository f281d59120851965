"""How steps are filled up, and how a model's needs are found, without a model."""

import numpy as np
import pytest

from aiadmin_llamacpp.engine.exactness import N_PROBE, PROBES, Filler, filler, find_block, most_rows, note


@pytest.mark.parametrize("block", [1, 4, 8, 16])
@pytest.mark.parametrize("n_outputs", range(5))
def test_a_filled_step_leaves_no_rest(block, n_outputs):
    for n_rows in range(max(1, n_outputs), most_rows(64, block) + 1):
        n, n_more = filler(n_rows, n_outputs, block)

        assert (n_rows + n) % block == (n_outputs + n_more) % block == 0
        assert n_more <= n
        assert n_rows + n <= 64


def test_what_fits_is_left_alone():
    assert filler(8, 4, 4) == filler(12, 0, 4) == filler(7, 3, 1) == Filler(0, 0)


def test_every_probe_reads_all_tokens_in_blocks():
    for block, chunks in PROBES.items():
        assert sum(chunks) == N_PROBE
        assert all(chunk % block == 0 for chunk in chunks)


@pytest.mark.parametrize("block", [1, 4, 8, 16])
def test_the_block_that_a_model_needs_is_found_by_trying(block):
    """Its kernels take `block` rows at a time, and round the rest otherwise."""

    def read(chunks):
        return np.concatenate([[n < n_rows - n_rows % block for n in range(n_rows)] for n_rows in chunks])

    assert find_block(read) == block


def test_some_models_cannot_be_helped():
    assert find_block(lambda chunks: np.array([len(chunks)])) == 0


def test_what_holds_is_said():
    assert note(1, "q8_0", always=False) == "q8_0 cache; reproducible"
    assert note(8, "q8_0", always=False) == "q8_0 cache; reproducible with a seed"
    assert note(8, "q8_0", always=True) == "q8_0 cache; reproducible"
    assert note(0, "f16", always=False) == "f16 cache; not reproducible"
    assert note(None, "f16", always=False) == "f16 cache; reproducible: unmeasured"
