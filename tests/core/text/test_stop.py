"""Stop strings in text that comes in pieces."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.text.stop import StopStrings


def streamed(stops, pieces):
    search = StopStrings(stops)
    given_out = [search.feed(piece) for piece in pieces]
    return "".join(given_out) + search.flush(), search.matched


@pytest.mark.parametrize("pieces", [["one STOP two"], ["one S", "TO", "P two"], list("one STOP two")])
def test_nothing_of_a_stop_string_is_given_out_however_the_text_is_cut(pieces):
    assert streamed(["STOP"], pieces) == ("one ", "STOP")


def test_what_may_be_the_beginning_of_a_stop_string_is_held():
    search = StopStrings(["</end>"])

    assert search.feed("a </en") == "a "
    assert search.n_held == 4
    assert search.feed("t>") == "</ent>"
    assert search.n_held == 0


def test_held_text_is_given_out_at_the_end():
    assert streamed(["STOP"], ["the STO"]) == ("the STO", None)


def test_the_stop_string_that_is_complete_first_wins():
    assert streamed(["abcde", "bcd"], ["xabcdefg"]) == ("xa", "bcd")


def test_of_two_complete_at_one_character_the_longer_wins():
    assert streamed(["b", "ab"], ["xaby"]) == ("x", "ab")


def test_a_beginning_inside_a_failed_match_is_found():
    assert streamed(["aab"], list("aaab")) == ("a", "aab")


def test_nothing_is_given_out_after_a_match():
    search = StopStrings(["."])
    search.feed("a. b")

    assert search.feed("more") == ""
    assert search.flush() == ""


def test_without_stop_strings_text_passes():
    assert streamed([], ["a", "b"]) == ("ab", None)
    assert streamed([""], ["a", "b"]) == ("ab", None)


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.text("ab", max_size=4), max_size=12),
)
def test_cutting_the_text_changes_nothing(stops, pieces):
    text = "".join(pieces)
    result, matched = streamed(stops, pieces)

    assert (result, matched) == streamed(stops, [text])
    if matched is None:
        assert result == text
        assert not any(stop in text for stop in stops)
    else:
        assert text.startswith(result + matched)
        assert not any(stop in (result + matched)[:-1] for stop in stops)


def test_a_text_that_nearly_matches_for_long_costs_no_more_than_its_length():
    """A search that starts again at each character would take minutes here."""
    search = StopStrings(["a" * 5_000 + "b"])
    began = time.perf_counter()
    for _ in range(2_000):
        search.feed("a" * 20)

    assert time.perf_counter() - began < 5
    assert search.n_held == 5_000
