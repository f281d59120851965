"""Guesses are what followed the same tokens before: in the prompt, in what the client expects, in the answer."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.jobs import MEDIA
from aiadmin_core.speculation.lookup import Beginning, Lookup, N

TOKENS = st.lists(st.integers(0, 3), max_size=40)


def lookup(prompt, prediction=()):
    return Lookup(Beginning(np.array(prompt, np.int32), prediction))


def told(found, tokens):
    return [found.append(token) for token in tokens]


def test_what_followed_in_the_prompt_is_guessed():
    found = lookup([1, 2, 3, 4, 5, 6, 7])

    told(found, [9, 2, 3, 4])

    assert found.guess(2) == [5, 6]
    assert found.guess(9)[:3] == [5, 6, 7]


def test_nothing_is_guessed_of_what_was_never_said():
    found = lookup([1, 2, 3, 4, 5])

    assert told(found, [7, 8, 9]) == [None] * 3
    assert (found.guesses, found.guess(4)) == (False, [])


def test_the_place_that_agrees_longest_is_followed():
    found = lookup([5, 1, 2, 3, 7, 6, 1, 2, 3, 8])

    told(found, [5, 1, 2, 3])

    assert found.guess(1) == [7]


def test_of_equals_the_last_place_is_followed():
    found = lookup([1, 2, 3, 7, 5, 1, 2, 3, 8])

    told(found, [9, 1, 2, 3])

    assert found.guess(1) == [8]


def test_a_guess_that_came_true_is_followed_further_and_a_wrong_one_is_left():
    found = lookup([1, 2, 3, 4, 5, 6, 7])

    assert told(found, [0, 1, 2, 3, 4, 5, 9]) == [None, None, None, None, True, True, False]
    assert not found.guesses


def test_an_answer_that_runs_in_circles_is_taken_to_go_on_so():
    found = lookup([9])

    told(found, [1, 2, 3, 1, 2, 3])

    assert found.guess(7) == [1, 2, 3, 1, 2, 3, 1]


def test_an_expected_text_is_guessed_from_its_beginning_and_found_again_after_a_change():
    found = lookup([1, 2], prediction=[10, 11, 12, 13, 14, 15, 16])

    assert found.guess(3) == [10, 11, 12]
    assert told(found, [10, 11, 99, 12, 13, 14]) == [True, True, False, None, None, None]
    assert found.guess(9) == [15, 16]
    told(found, [15, 16])
    assert not found.guesses, "the expected text is over"
    assert found.n_foretold == 4


def test_what_the_client_expects_comes_before_what_agrees_longer():
    found = lookup([9, 1, 2, 3, 4], prediction=[7, 1, 2, 3, 5, 6])

    told(found, [9, 1, 2, 3])

    assert found.guess(2) == [5, 6]


def test_images_are_no_text():
    found = lookup([1, 2, 3, 4, MEDIA, MEDIA, 5])

    told(found, [0, 1, 2, 3])

    assert found.guess(4) == [4]


@given(TOKENS, TOKENS)
def test_there_is_a_guess_wherever_the_last_tokens_stood_before(prompt, answer):
    found = lookup(prompt)
    for n in range(len(answer)):
        found.append(answer[n])
        text = [*prompt, *answer[: n + 1]]
        end = text[-N:]
        before = [place for place in range(N, len(text)) if text[place - N : place] == end] if len(text) >= N else []
        assert found.guesses == bool(before)
        if before:
            assert found.guess(1)[0] in [text[place] for place in before]


@given(TOKENS, TOKENS, st.integers(1, 12))
def test_a_guess_is_what_follows_where_its_own_tokens_go_on(prompt, answer, n):
    """However long it is: told token by token, each is the first guess after those before it."""
    found, other = lookup(prompt), lookup(prompt)
    told(found, answer)
    told(other, answer)
    for token in found.guess(n):
        assert other.guess(1) == [token]
        assert other.append(token)
