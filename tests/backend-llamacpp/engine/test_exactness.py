"""How steps are filled up, and how a model's needs are found, without a model."""

import numpy as np
import pytest

from aiadmin_llamacpp.engine.exactness import BLOCK, Filler, filler, find_needs, most_rows, note


@pytest.mark.parametrize("n_rows", range(1, 40))
@pytest.mark.parametrize("n_outputs", range(5))
def test_a_filled_step_leaves_no_rest(n_rows, n_outputs):
    n, n_more = filler(n_rows, n_outputs)

    assert (n_rows + n) % BLOCK == (n_outputs + n_more) % BLOCK == 0
    assert n_more <= n
    assert n_rows + n <= 64 or n_rows > most_rows(64)


def test_what_fits_is_left_alone():
    assert filler(8, 4) == filler(12, 0) == Filler(0, 0)


def needs(read):
    return find_needs(lambda chunks, filled: np.array([read(chunks, filled)], np.float32))


def test_a_models_needs_are_found_by_trying():
    assert needs(lambda chunks, filled: 1.0) == "nothing"
    assert needs(lambda chunks, filled: 0.0 if filled else len(chunks)) == "fours"
    assert needs(lambda chunks, filled: len(chunks)) == "impossible"


def test_what_holds_is_said():
    assert note("nothing", "q8_0", always=False) == "q8_0 cache; reproducible"
    assert note("fours", "q8_0", always=False) == "q8_0 cache; reproducible with a seed"
    assert note("fours", "q8_0", always=True) == "q8_0 cache; reproducible"
    assert note("impossible", "f16", always=False) == "f16 cache; not reproducible"
    assert note("unmeasured", "f16", always=False) == "f16 cache; reproducible: unmeasured"
