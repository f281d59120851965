"""One call a step: what is kept, what is drawn, what is reported."""

from collections import Counter

import numpy as np
import pytest

from aiadmin_core.sampling.choice import ChoiceSampler
from aiadmin_core.sampling.rows import ConstraintExhausted, checked_mask
from aiadmin_core.sampling.step import Pick, StepSampler
from aiadmin_core.specs.sampling import SamplingParams

LOGITS = np.array([2.0, 1.0, 0.0, -1.0, -30.0], np.float32)
P = np.exp(LOGITS) / np.exp(LOGITS).sum()  # 0.64, 0.24, 0.09, 0.03, nothing
WIDE = np.random.default_rng(5).normal(0, 3, (16, 5003)).astype(np.float32)


def sampler(*, choice=0, prompt=(), breakers=None, **params):
    return ChoiceSampler(SamplingParams(**params), choice=choice, prompt=prompt, breakers=breakers)


def draws(n=400, *, logits=LOGITS, mask=None, **params):
    """What one sampler draws, counted."""
    one, step = sampler(**{"seed": 3, **params}), StepSampler(len(logits))
    return Counter(step.choose(logits[None], [Pick(0, one, mask)])[0].token for _ in range(n))


def mask_of(*tokens, n_words=1):
    words = np.zeros(n_words, np.uint32)
    for token in tokens:
        words[token // 32] |= np.uint32(1 << token % 32)
    return words.view(np.int32)


@pytest.mark.parametrize("params", [{}, {"top_k": 5}, {"top_p": 0.9999}, {"mirostat": 2, "mirostat_tau": 50.0}])
def test_draws_follow_the_distribution(params):
    counts = draws(n=4000, **params)

    assert [counts[token] / 4000 for token in range(4)] == pytest.approx(P[:4], abs=0.025)
    assert counts[4] == 0


@pytest.mark.parametrize(
    ("params", "possible"),
    [
        ({"temperature": 0.0}, {0}),
        ({"temperature": 1e-40}, {0}),
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 2**62}, {0, 1, 2, 3}),
        ({"top_p": 0.0}, {0}),
        ({"top_p": 0.6}, {0}),
        ({"top_p": 0.7}, {0, 1}),
        ({"min_p": 0.3}, {0, 1}),  # the second has 0.37 of the first
        ({"min_p": 1.0}, {0}),
        ({"top_k": 3, "top_p": 0.95}, {0, 1, 2}),  # of three, the first two have 0.91
        ({"top_k": 3, "top_p": 0.9}, {0, 1}),
        ({"temperature": 2.0, "min_p": 0.3}, {0, 1}),  # the temperature comes last
        ({"typical_p": 0.0}, {1}),  # expected surprise 0.95; the second has 1.44, the first 0.44
        ({"typical_p": 0.2}, {1}),
        ({"typical_p": 0.3}, {0, 1}),
        ({"typical_p": 0.9}, {0, 1, 2}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.2}, {1, 2, 3}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.05}, {2, 3}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.3}, {0, 1, 2, 3}),  # only one has that much
        ({"xtc_probability": 1.0, "xtc_threshold": 0.6}, {0, 1, 2, 3}),
        ({"xtc_probability": 0.0, "xtc_threshold": 0.0}, {0, 1, 2, 3}),
        ({"mirostat": 2, "mirostat_tau": 0.4, "mirostat_eta": 0.0}, {0}),  # at most 0.8 bits
        ({"mirostat": 2, "mirostat_tau": 1.1, "mirostat_eta": 0.0}, {0, 1}),  # at most 2.2
        ({"logit_bias": {3: 100.0}}, {3}),
    ],
)
def test_truncation_keeps_exactly_what_it_says(params, possible):
    assert set(draws(n=600, **params)) == possible


def test_xtc_acts_as_often_as_it_says():
    counts = draws(n=4000, xtc_probability=0.5, xtc_threshold=0.2)

    assert counts[0] / 4000 == pytest.approx(P[0] / 2, abs=0.03)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [2.0, 4.0])
def test_mirostat_keeps_the_surprise_where_it_is_told(version, tau):
    row = np.sort(WIDE[0])[::-1].copy()
    one, step = sampler(seed=1, mirostat=version, mirostat_tau=tau), StepSampler(len(row))
    p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()

    tokens = [step.choose(row[None], [Pick(0, one)])[0].token for _ in range(1500)]

    # Of the truncated distribution, which is what mirostat steers: at most that of the whole.
    kept = p[: max(tokens[500:]) + 1]
    assert np.mean(-np.log2(p[tokens[500:]] / kept.sum())) == pytest.approx(tau, abs=0.5)


def test_every_row_has_its_own_settings():
    samplers = [
        sampler(temperature=0.0),
        sampler(top_k=2, seed=1),
        sampler(logit_bias={4: 100.0}, temperature=0.0),
        sampler(seed=2),
        sampler(seed=3, xtc_probability=1.0, xtc_threshold=0.2),
        sampler(seed=4, mirostat=2, mirostat_tau=0.4, mirostat_eta=0.0),
        sampler(seed=5, typical_p=0.7),
    ]
    seen = [set() for _ in samplers]
    step = StepSampler(5)

    for _ in range(300):
        rows = np.tile(LOGITS, (len(samplers), 1))
        for row, chosen in zip(seen, step.choose(rows, [Pick(*one) for one in enumerate(samplers)]), strict=True):
            row.add(chosen.token)

    assert seen == [{0}, {0, 1}, {4}, {0, 1, 2, 3}, {1, 2, 3}, {0}, {0, 1}]


SETTINGS = [
    {},
    {"temperature": 0.7},
    {"top_k": 40, "top_p": 0.9, "min_p": 0.02},
    {"top_p": 0.5},
    {"top_p": 0.999},  # beyond the first stage
    {"min_p": 0.001},
    {"typical_p": 0.8},
    {"xtc_probability": 0.5, "min_p": 0.01},
    {"mirostat": 1},
    {"mirostat": 2},
    {"frequency_penalty": 0.5, "presence_penalty": 0.5, "repeat_penalty": 1.2},
    {"dry_multiplier": 0.8, "dry_penalty_last_n": -1},
]


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_a_sequence_draws_the_same_whoever_shares_its_step(params):
    """Row, company and place in the step change nothing, to the last bit."""

    def run(company):
        step, mine = StepSampler(5003), sampler(seed=9, prompt=[1, 2, 3, 1, 2], **params)
        others = [sampler(seed=i, **SETTINGS[i % len(SETTINGS)]) for i in range(company)]
        tokens = []
        for n in range(40):
            rows = np.roll(WIDE, n, axis=0)[: company + 1].copy()
            rows[company] = WIDE[n % 16]
            tokens.append(step.choose(rows, [Pick(*one) for one in enumerate([*others, mine])])[company].token)
        return tokens

    alone = run(0)
    assert run(1) == alone
    assert run(12) == alone


def test_choice_i_continues_with_seed_plus_i():
    def tokens(one):
        step = StepSampler(5)
        return [step.choose(LOGITS[None], [Pick(0, one)])[0].token for _ in range(30)]

    assert tokens(sampler(seed=7, choice=1)) == tokens(sampler(seed=8)) != tokens(sampler(seed=7))
    assert tokens(sampler(seed=-(2**63))) != tokens(sampler(seed=2**63 - 1))


def test_a_mask_leaves_only_what_it_allows():
    assert set(draws(mask=mask_of(1, 3), temperature=2.0)) == {1, 3}
    assert set(draws(mask=mask_of(1, 3), temperature=0.0)) == {1}
    assert set(draws(mask=mask_of(4), top_p=0.5)) == {4}


def test_tokens_beyond_a_short_mask_are_not_allowed_and_a_longer_one_is_cut():
    flat = np.zeros(50, np.float32)

    assert set(draws(logits=flat, mask=mask_of(5))) == {5}
    assert set(draws(logits=flat, mask=mask_of(5, 63, n_words=2))) == {5}


def test_a_mask_that_allows_nothing_is_an_error():
    with pytest.raises(ConstraintExhausted, match="allows no token"):
        checked_mask(mask_of())


def test_choices_that_share_a_row_do_not_see_each_others_masks():
    logits = LOGITS[None].copy()
    picks = [Pick(0, sampler(temperature=0.0), mask_of(3)), Pick(0, sampler(temperature=0.0), mask_of(2))]

    assert [chosen.token for chosen in StepSampler(5).choose(logits, picks)] == [3, 2]
    assert np.array_equal(logits[0], LOGITS)


def test_log_probabilities_are_the_models_own_before_bias_mask_and_temperature():
    one = sampler(temperature=2.0, seed=1, logit_bias={3: 50.0}, logprobs=2)

    (chosen,) = StepSampler(5).choose(LOGITS[None], [Pick(0, one, mask_of(2, 3))])

    assert chosen.token == 3
    assert chosen.logprob == pytest.approx(np.log(P[3]), abs=1e-5)
    assert [token for token, _ in chosen.top] == [0, 1]
    assert [value for _, value in chosen.top] == pytest.approx(np.log(P[:2]), abs=1e-5)


def test_each_request_gets_the_alternatives_it_asked_for():
    samplers = [sampler(temperature=0.0, logprobs=n) for n in (None, 0, 3, 99)]
    rows = np.tile(LOGITS, (4, 1))

    none, zero, three, all_ = StepSampler(5).choose(rows, [Pick(*one) for one in enumerate(samplers)])

    assert (none.logprob, none.top) == (0.0, ())
    assert (zero.logprob < 0, zero.top) == (True, ())
    assert len(three.top) == 3
    assert [token for token, _ in all_.top] == [0, 1, 2, 3, 4]


def test_large_logits_do_not_overflow():
    row = np.array([1000.0, 999.0, -1000.0], np.float32)

    (chosen,) = StepSampler(3).choose(row[None], [Pick(0, sampler(temperature=0.0, logprobs=3))])

    assert chosen.logprob == pytest.approx(-0.3133, abs=1e-3)
    assert set(draws(logits=row, n=50)) == {0, 1}


def test_a_row_of_a_broken_model_harms_no_other():
    rows = np.array([[np.nan] * 5, LOGITS], np.float32)
    for params in ({}, {"top_p": 0.5}, {"mirostat": 2}, {"mirostat": 1}, {"typical_p": 0.5}, {"logprobs": 2}):
        broken, well = StepSampler(5).choose(rows, [Pick(0, sampler(**params)), Pick(1, sampler(temperature=0.0))])

        assert 0 <= broken.token < 5
        assert well.token == 0


def test_a_negative_logit_is_made_worse_by_a_repeat_penalty():
    row = LOGITS.copy()
    sampler(prompt=[3, 0], repeat_penalty=2.0).adjust(row)

    assert row.tolist() == [1.0, 1.0, 0.0, -2.0, -30.0]


def test_openais_penalties_count_what_was_generated_and_not_the_prompt():
    one, row = sampler(prompt=[2, 2], frequency_penalty=0.5, presence_penalty=0.25), LOGITS.copy()
    for token in (0, 0, 1):
        one.accept(token)
    one.adjust(row)

    assert row.tolist() == [0.75, 0.25, 0.0, -1.0, -30.0]


@pytest.mark.parametrize(("last_n", "hit"), [(0, set()), (1, {1}), (2, {0, 1}), (-1, {0, 1, 2})])
def test_the_repeat_penalty_looks_so_far_back(last_n, hit):
    one, row = sampler(prompt=[2, 0], repeat_penalty=4.0, repeat_last_n=last_n), np.full(4, 4.0, np.float32)
    one.accept(1)
    one.adjust(row)

    assert {i for i, value in enumerate(row.tolist()) if value == 1.0} == hit
