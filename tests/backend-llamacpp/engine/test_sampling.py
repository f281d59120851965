"""Masks and log-probabilities, without a model."""

import math

import numpy as np
import pytest

from aiadmin_core.backend import TokenRequest
from aiadmin_core.jobs import Job
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.engine.sampling import ConstraintExhausted, apply_mask, log_softmax, most_likely, sample
from aiadmin_llamacpp.engine.sequence import Choice


def mask_of(*tokens, n_words=2):
    words = np.zeros(n_words, np.uint32)
    for token in tokens:
        words[token // 32] |= np.uint32(1 << token % 32)
    return words.view(np.int32)


class Only:
    """A matcher that always allows the same tokens."""

    def __init__(self, *tokens):
        self.tokens = tokens

    def mask(self):
        return mask_of(*self.tokens)


class Greedy:
    """Reads the logits as the native sampler would."""

    def __init__(self, logits):
        self.logits = logits

    def sample(self, row):
        return int(self.logits[row].argmax())


def job(*, n=1, logprobs=None):
    request = TokenRequest(id=1, prompt=(), sampling=SamplingParams(logprobs=logprobs), max_tokens=5, n=n)
    return Job(request=request, tokens=np.zeros(1, np.int32), max_tokens=5)


def test_a_mask_leaves_only_what_it_allows():
    logits = np.arange(50, dtype=np.float32)

    apply_mask(logits, mask_of(3, 31, 32, 49))

    assert np.flatnonzero(np.isfinite(logits)).tolist() == [3, 31, 32, 49]
    assert logits[49] == 49


def test_a_mask_longer_than_the_vocabulary_is_cut():
    logits = np.zeros(40, np.float32)

    apply_mask(logits, mask_of(5, 63))

    assert np.flatnonzero(np.isfinite(logits)).tolist() == [5]


def test_tokens_beyond_a_short_mask_are_not_allowed():
    logits = np.zeros(50, np.float32)

    apply_mask(logits, mask_of(5, n_words=1))

    assert np.flatnonzero(np.isfinite(logits)).tolist() == [5]


def test_a_mask_that_allows_nothing_is_an_error():
    with pytest.raises(ConstraintExhausted):
        apply_mask(np.zeros(64, np.float32), mask_of())


def test_log_probabilities_sum_to_one_and_survive_large_logits():
    logprobs = log_softmax(np.array([1000.0, 999.0, -1000.0], np.float32))

    assert math.isclose(np.exp(logprobs).sum(), 1, rel_tol=1e-6)
    assert most_likely(logprobs, 2)[0][0] == 0
    assert most_likely(logprobs, 0) == ()
    assert len(most_likely(logprobs, 99)) == 3


def test_log_probabilities_are_those_before_the_mask():
    logits = np.zeros((1, 64), np.float32)
    logits[0, 7] = 5
    choice = Choice(0, Greedy(logits), Only(3))

    sampled = sample(job(logprobs=1), choice, 0, lambda row: logits[row])

    assert sampled.token == 3
    assert sampled.top[0][0] == 7
    assert sampled.logprob < sampled.top[0][1] < 0


def test_choices_that_share_a_row_do_not_see_each_others_masks():
    logits = np.zeros((1, 64), np.float32)
    logits[0, 9] = 1
    shared = job(n=2)

    first = sample(shared, Choice(0, Greedy(logits), Only(3)), 0, lambda row: logits[row])
    second = sample(shared, Choice(1, Greedy(logits), Only(4)), 0, lambda row: logits[row])

    assert (first.token, second.token) == (3, 4)
    assert logits[0, 9] == 1
