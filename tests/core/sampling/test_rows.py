"""The most likely tokens of a row, without sorting it."""

import numpy as np
import pytest

from aiadmin_core.sampling.rows import log_sum_exp, most_likely


@pytest.mark.parametrize("width", [1, 5, 63, 64, 65, 1000, 5003])
@pytest.mark.parametrize("n", [1, 2, 20, 256, 5003])
def test_the_first_n_are_those_of_a_sort(width, n):
    rows = np.random.default_rng(width).normal(0, 3, (3, width)).astype(np.float32)

    ids, logits = most_likely(rows, n)

    n = min(n, width)
    assert np.array_equal(ids[:, :n], np.argsort(-rows, axis=1)[:, :n])
    assert np.array_equal(logits[:, :n], -np.sort(-rows, axis=1)[:, :n])


def test_of_equals_the_lower_id_comes_first():
    rows = np.zeros((1, 300), np.float32)
    rows[0, [7, 200]] = 5

    assert most_likely(rows, 3)[0][0, :3].tolist() == [7, 200, 0]


def test_a_sum_has_the_same_bits_whoever_stands_beside():
    rows = np.random.default_rng(1).normal(0, 3, (16, 49_152)).astype(np.float32)
    together = log_sum_exp(rows)

    for row, sum_ in zip(rows, together, strict=True):
        assert log_sum_exp(row[None])[0] == sum_
        assert sum_ == pytest.approx(np.log(np.exp(row.astype(np.float64)).sum()), abs=1e-6)
