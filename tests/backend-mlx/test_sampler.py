"""The sampler on logits written by hand."""

from collections import Counter

import mlx.core as mx
import numpy as np
import pytest

from aiadmin_core.sampling.choice import ChoiceSampler
from aiadmin_core.sampling.step import truncated
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_mlx.sampler import Sampler, _truncate, choose

LOGITS = [2.0, 1.0, 0.0, -1.0, -30.0]


def sampler(prompt=(), matcher=None, choice=0, **params):
    return Sampler(SamplingParams(**params), matcher=matcher, prompt=prompt, choice=choice)


def draws(n=400, **params):
    """What one sampler draws from `LOGITS`, counted."""
    one = sampler(seed=3, **params)
    return Counter(choose(mx.array([LOGITS]), [one], [None]).tokens.item() for _ in range(n))


def test_draws_follow_the_distribution():
    counts = draws(n=3000)

    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert [counts[token] / 3000 for token in range(4)] == pytest.approx(expected[:4], abs=0.03)
    assert counts[4] == 0


@pytest.mark.parametrize(
    ("params", "possible"),
    [
        ({"temperature": 0.0}, {0}),
        ({"temperature": 1e-40}, {0}),
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.0}, {0}),
        ({"top_p": 0.6}, {0}),  # the first has 0.64
        ({"top_p": 0.7}, {0, 1}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"min_p": 0.3}, {0, 1}),  # the second has 0.37 of the first
        ({"min_p": 1.0}, {0}),
        ({"top_k": 3, "top_p": 0.95}, {0, 1, 2}),  # of three, the first two have 0.91
        ({"top_k": 3, "top_p": 0.9}, {0, 1}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.2}, {1, 2, 3}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.05}, {2, 3}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.3}, {0, 1, 2, 3}),  # only one has that much
        ({"xtc_probability": 1.0, "xtc_threshold": 0.2, "top_k": 2}, {1}),
    ],
)
def test_truncation_keeps_exactly_what_it_says(params, possible):
    assert set(draws(**params)) == possible


def test_truncation_comes_before_the_temperature():
    assert set(draws(temperature=2.0, min_p=0.3)) == {0, 1}


def test_every_row_has_its_own_settings():
    samplers = [
        sampler(temperature=0.0),
        sampler(top_k=2, seed=1),
        sampler(logit_bias={4: 100.0}, temperature=0.0),
        sampler(seed=2),
    ]
    seen = [set() for _ in samplers]

    for _ in range(200):
        tokens = choose(mx.array([LOGITS] * 4), samplers, [None] * 4).tokens.tolist()
        for row, token in zip(seen, tokens, strict=True):
            row.add(token)

    assert seen == [{0}, {0, 1}, {4}, {0, 1, 2, 3}]


def test_a_sequence_draws_the_same_whoever_shares_its_batch():
    def row_of(company):
        mine = sampler(seed=9)
        others = [sampler(seed=i, top_p=0.5) for i in range(company)]
        rows = mx.array([LOGITS] * (company + 1))
        return [choose(rows, [*others, mine], [None] * (company + 1)).tokens.tolist()[-1] for _ in range(30)]

    assert row_of(0) == row_of(1) == row_of(5)


def test_seeds_count_up_by_choice():
    first, same, other = (
        one.next_numbers().tolist() for one in (sampler(seed=7, choice=1), sampler(seed=8), sampler())
    )

    assert first == same != other


def test_xtc_acts_as_often_as_it_says():
    counts = draws(n=3000, xtc_probability=0.5, xtc_threshold=0.2)

    assert counts[0] / 3000 == pytest.approx(0.64 / 2, abs=0.03)


def test_the_distribution_is_that_of_core():
    """The same settings keep the same tokens on both backends."""
    rng = np.random.default_rng(2)
    for params in ({"top_k": 7}, {"top_p": 0.8}, {"min_p": 0.05}, {"top_k": 9, "top_p": 0.9, "min_p": 0.02}):
        logits = rng.normal(0, 2, 100).astype(np.float32)
        ids, _, kept, _ = truncated(logits[None], [ChoiceSampler(SamplingParams(**params))], 100)

        scores = np.array(_truncate(mx.array(logits[None]), [sampler(**params)]))[0]

        assert set(np.flatnonzero(np.isfinite(scores)).tolist()) == set(ids[kept].tolist())


def test_a_negative_logit_is_made_worse_by_a_repeat_penalty():
    one = sampler(prompt=[3, 0], repeat_penalty=2.0, temperature=0.0)

    assert one.adjust(mx.array(LOGITS)).tolist() == [1.0, 1.0, 0.0, -2.0, -30.0]


def test_penalties_count_what_was_generated_and_not_the_prompt():
    one = sampler(prompt=[2, 2], frequency_penalty=0.5, presence_penalty=0.25, temperature=0.0)
    for token in (0, 0, 1):
        one.accept(token)

    assert one.adjust(mx.array(LOGITS)).tolist() == [0.75, 0.25, 0.0, -1.0, -30.0]


@pytest.mark.parametrize(("last_n", "hit"), [(0, set()), (1, {1}), (2, {0, 1}), (-1, {0, 1, 2})])
def test_the_repeat_penalty_looks_so_far_back(last_n, hit):
    one = sampler(prompt=[2, 0], repeat_penalty=4.0, repeat_last_n=last_n, temperature=0.0)
    one.accept(1)

    logits = [4.0, 4.0, 4.0, 4.0]
    assert {i for i, value in enumerate(one.adjust(mx.array(logits)).tolist()) if value == 1.0} == hit


def test_masks_of_any_width_bind_also_at_high_temperature():
    mask = np.array([0b01010], np.int32)
    one = sampler(seed=1, temperature=2.0)
    wide = mx.concatenate([mx.array([LOGITS]), mx.full((1, 60), 5.0)], axis=1)  # padded past the mask's one word

    seen = {choose(wide, [one], [mask]).tokens.item() for _ in range(100)}

    assert seen == {1, 3}


def test_bfloat16_logits_are_computed_with_in_float32():
    chosen = choose(mx.array([LOGITS], dtype=mx.bfloat16), [sampler(temperature=0.0, logprobs=2)], [None])

    ((token, logprob, top),) = chosen.read()
    assert token == 0
    assert logprob == pytest.approx(2.0 - np.log(np.exp(LOGITS).sum()), abs=1e-5)
    assert [alternative for alternative, _ in top] == [0, 1]
