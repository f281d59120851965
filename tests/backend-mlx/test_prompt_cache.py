"""Kept prefixes, with mlx-lm's own caches and no model."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import KVCache, RotatingKVCache

from aiadmin_mlx.engine.prompt_cache import PromptCache, common_prefix

ENTRY_BYTES = 2 * 2 * 256 * 4 * 4  # two layers, keys and values, 256 cells of 4 floats


def caches(tokens, make=KVCache):
    """Two layers' caches whose keys are the tokens themselves."""
    layers = [make(), make()]
    values = mx.array(tokens, dtype=mx.float32)[None, None, :, None] * mx.ones((1, 1, 1, 4))
    for layer in layers:
        layer.update_and_fetch(values, values)
    return layers


def content(found):
    return [int(key) for key in found[1].keys_and_values()[0][0, 0, :, 0].tolist()]


@pytest.fixture
def kept():
    return PromptCache(10 * ENTRY_BYTES)


def test_the_longest_prefix_is_found_and_cut_to_what_is_shared(kept):
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))
    kept.keep("", [1, 2, 3, 4, 5, 6], caches([1, 2, 3, 4, 5, 6]))
    kept.keep("", [9, 9], caches([9, 9]))

    n, found = kept.find("", [1, 2, 3, 4, 7, 8])

    assert n == 4
    assert content(found) == [1, 2, 3, 4]


def test_one_token_is_always_left_to_decode(kept):
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))

    assert kept.find("", [1, 2, 3])[0] == 2
    assert kept.find("", [1]) == (0, None)


def test_salts_do_not_share(kept):
    kept.keep("a", [1, 2, 3], caches([1, 2, 3]))

    assert kept.find("b", [1, 2, 3, 4]) == (0, None)
    assert kept.find("a", [1, 2, 3, 4])[0] == 3


def test_what_is_handed_out_is_a_copy(kept):
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))
    _, first = kept.find("", [1, 2, 3, 4])
    for layer in first:
        layer.update_and_fetch(mx.full((1, 1, 1, 4), 77.0), mx.full((1, 1, 1, 4), 77.0))

    _, second = kept.find("", [1, 2, 3, 5])

    assert content(first) == [1, 2, 3, 77]
    assert content(second) == [1, 2, 3]


def test_an_entry_that_is_the_beginning_of_another_is_dropped(kept):
    kept.keep("", [1, 2], caches([1, 2]))
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))

    assert (kept.n_tokens, kept.n_bytes) == (3, ENTRY_BYTES)


def test_the_least_recently_used_goes_first():
    kept = PromptCache(2 * ENTRY_BYTES)
    kept.keep("", [1, 1], caches([1, 1]))
    kept.keep("", [2, 2], caches([2, 2]))
    kept.find("", [1, 1, 1])

    kept.keep("", [3, 3], caches([3, 3]))

    assert [kept.find("", [token, token, 0])[0] for token in (1, 2, 3)] == [2, 0, 2]
    assert kept.n_bytes == 2 * ENTRY_BYTES


def test_what_is_larger_than_the_budget_is_not_kept():
    kept = PromptCache(ENTRY_BYTES - 1)
    kept.keep("", [1, 1], caches([1, 1]))

    assert kept.n_bytes == 0


def test_a_cache_that_cannot_be_cut_serves_only_as_a_whole(kept):
    def rotating():
        return RotatingKVCache(max_size=4)

    kept.keep("", [1, 2, 3, 4, 5], caches([1, 2, 3, 4, 5], make=rotating))

    assert kept.find("", [1, 2, 3, 9]) == (0, None)
    assert kept.find("", [1, 2, 3, 4, 5, 6])[0] == 5


@pytest.mark.parametrize(
    ("left", "right", "n"),
    [((), (), 0), ((1,), (2,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2, 4, 5), 2), ((1,), (1, 5), 1)],
)
def test_common_prefixes(left, right, n):
    assert common_prefix(left, right) == n
