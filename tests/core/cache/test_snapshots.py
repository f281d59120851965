"""Whole states by the prompts that begin with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.cache.snapshots import Snapshots

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=8)


def tokens(*ids):
    return np.array(ids, np.int32)


def state(n=10):
    return np.zeros(n, np.uint8)


def test_the_longest_state_that_a_prompt_begins_with_is_found():
    kept = Snapshots(1000)
    for n in (2, 4, 6):
        kept.put("key", tokens(*range(n)), state())

    assert len(kept.longest("key", tokens(0, 1, 2, 3, 4, 9)).tokens) == 4
    assert kept.longest("key", tokens(0, 9)) is None
    assert kept.longest("other", tokens(0, 1, 2, 3)) is None
    assert kept.agreeing("key", tokens(0, 1, 2, 3, 4, 9)) == 5


def test_of_equals_what_was_of_use_longest_ago_goes_first():
    kept = Snapshots(30)
    for n in (1, 2, 3):
        kept.put("key", tokens(n), state())
    kept.touch(kept.longest("key", tokens(1)))

    kept.put("key", tokens(4), state())

    assert [n for n in range(1, 5) if kept.longest("key", tokens(n))] == [1, 3, 4]


def test_of_states_of_one_size_the_one_of_few_tokens_goes_first_and_a_new_one_is_always_taken():
    kept = Snapshots(20)
    kept.put("key", tokens(*range(100)), state())
    kept.put("key", tokens(7), state())
    kept.put("key", tokens(8), state())

    assert len(kept.longest("key", tokens(*range(100))).tokens) == 100
    assert kept.longest("key", tokens(8)) is not None
    assert kept.longest("key", tokens(7)) is None


def test_a_long_one_that_nobody_asks_for_makes_room_in_the_end():
    kept = Snapshots(20)
    kept.put("key", tokens(*range(10)), state())
    for n in range(100, 120):
        kept.put("key", tokens(n), state())

    assert kept.longest("key", tokens(*range(10))) is None


@pytest.mark.parametrize("n_bytes", [0, 9])
def test_a_state_that_is_larger_than_the_budget_is_not_kept(n_bytes):
    kept = Snapshots(n_bytes)

    kept.put("key", tokens(1), state())

    assert (kept.longest("key", tokens(1)), kept.n_bytes) == (None, 0)


@given(st.lists(st.tuples(TOKENS, st.integers(1, 20)), max_size=30), TOKENS)
def test_the_budget_holds_and_what_is_found_fits(puts, prompt):
    kept = Snapshots(50)
    for run, n_bytes in puts:
        kept.put("key", tokens(*run), state(n_bytes))
        assert kept.n_bytes <= 50

    found = kept.longest("key", tokens(*prompt))
    if found is not None:
        assert found.tokens.tolist() == prompt[: len(found.tokens)]
