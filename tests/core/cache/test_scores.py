"""What is remembered of prompts that were scored."""

import numpy as np

from aiadmin_core.cache.scores import ScoredPrompts
from aiadmin_core.sampling.logprobs import Likelihood


def tokens(*ids):
    return np.array(ids, np.int32)


def found(*logprobs):
    return [Likelihood(logprob, ()) for logprob in logprobs]


def test_what_two_prompts_have_in_common_is_known_but_for_what_comes_then():
    """The last common token's row is of the next one, which differs."""
    prompts = ScoredPrompts()
    prompts.keep("k", tokens(1, 2, 3, 4), found(-2, -3, -4))

    assert prompts.known("k", tokens(1, 2, 3, 9, 9)) == found(-2, -3)
    assert prompts.known("k", tokens(1, 2, 3, 4, 5)) == found(-2, -3, -4)
    assert prompts.known("k", tokens(1, 2, 3, 4)) == found(-2, -3, -4)
    assert prompts.known("k", tokens(1, 2)) == found(-2)
    assert prompts.known("k", tokens(1, 9)) == []
    assert prompts.known("k", tokens(9)) == []


def test_the_longest_is_taken_of_those_with_the_same_key():
    prompts = ScoredPrompts()
    prompts.keep("k", tokens(1, 2, 3), found(-2, -3))
    prompts.keep("k", tokens(1, 2, 7, 8), found(-2, -7, -8))
    prompts.keep("other", tokens(1, 2, 3, 4), found(-20, -30, -40))

    assert prompts.known("k", tokens(1, 2, 7, 9)) == found(-2, -7)
    assert prompts.known("k", tokens(1, 2, 3, 4)) == found(-2, -3)
    assert prompts.known("none", tokens(1, 2, 3, 4)) == []


def test_the_least_recently_used_go_first_and_none_is_too_long():
    prompts = ScoredPrompts(most_tokens=6)
    prompts.keep("k", tokens(1, 1), found(-1))
    prompts.keep("k", tokens(2, 2), found(-2))
    prompts.keep("k", tokens(3, 3), found(-3))
    prompts.known("k", tokens(1, 1))
    prompts.keep("k", tokens(4, 4), found(-4))
    prompts.keep("k", tokens(*range(5, 12)), found(*range(6)))

    kept = [bool(prompts.known("k", tokens(n, n))) for n in (1, 2, 3, 4)]
    assert kept == [True, False, True, True]
    assert prompts.known("k", tokens(5, 6)) == []


def test_one_that_another_goes_on_from_is_not_kept_twice():
    prompts = ScoredPrompts(most_tokens=4)
    prompts.keep("k", tokens(1, 2), found(-2))
    prompts.keep("k", tokens(1, 2, 3, 4), found(-2, -3, -4))
    assert prompts.known("k", tokens(1, 2, 3, 4)) == found(-2, -3, -4)
