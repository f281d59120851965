"""A run of right guesses makes a copy likely, a wrong one much less so."""

from itertools import islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.speculation.acceptance import EXPECTED, Acceptance


def chances(found, n=20):
    return list(islice(found.chances(), n))


def after(hits, **given):
    found = Acceptance(**given)
    for hit in hits:
        found.observe(hit=hit)
    return found


def test_long_guesses_are_only_trusted_after_a_run_of_right_ones():
    assert chances(Acceptance())[15] < 0.1
    assert chances(after([True] * 16))[15] > 0.6


def test_what_a_client_expects_is_trusted_from_the_start():
    assert chances(Acceptance(EXPECTED))[15] > 0.6


def test_one_change_in_a_copy_does_not_end_it():
    assert chances(after([True] * 20 + [False] + [True] * 6))[15] > 0.6


def test_where_guesses_are_right_half_the_time_long_ones_stay_unlikely():
    assert chances(after([True, False] * 40 + [True] * 3))[15] < 0.2


@given(st.lists(st.booleans(), max_size=200))
def test_chances_fall_and_no_history_is_for_ever(hits):
    found = after(hits)
    all_chances = chances(found)
    assert all(1 > one >= other > 0 for one, other in pairwise(all_chances))
    for _ in range(20):
        found.observe(hit=True)
    assert chances(found)[15] > 0.6
