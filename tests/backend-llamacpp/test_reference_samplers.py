"""Core's sampling beside llama.cpp's own samplers, which it replaces: the same tokens kept, the same odds."""

import ctypes
from collections import Counter

import numpy as np
import pytest
from llama_cpp import llama_cpp as lib

from aiadmin_core.sampling.choice import ChoiceSampler
from aiadmin_core.sampling.dry import BreakerFinder
from aiadmin_core.sampling.step import Pick, StepSampler, truncated
from aiadmin_core.specs.sampling import SamplingParams

N_VOCAB = 400
ROWS = np.random.default_rng(7).normal(0, 2.5, (12, N_VOCAB)).astype(np.float32)
SMALL = np.array([2.0, 1.2, 0.7, 0.1, -0.6, -1.5, -2.0], np.float32)
ALWAYS = 2.0
"""A probability of XTC that no draw exceeds."""

CHI_SQUARE = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5, 6: 22.5}
"""Exceeded once in 1,000 by chance, by degrees of freedom. Seeds are fixed: it is exceeded always or never."""


class Candidates:
    """A row as llama.cpp's samplers take one."""

    def __init__(self, row):
        self.records = (lib.llama_token_data * len(row))(*((i, float(logit), 0.0) for i, logit in enumerate(row)))
        self.array = lib.llama_token_data_array(self.records, len(row), -1, False)

    def apply(self, sampler):
        lib.llama_sampler_apply(sampler, ctypes.byref(self.array))
        return self

    def ids(self):
        return {self.array.data[i].id for i in range(self.array.size)}

    def logits(self):
        return {self.array.data[i].id: self.array.data[i].logit for i in range(self.array.size)}

    def token(self):
        return self.array.data[self.array.selected].id


def chain(*samplers):
    made = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for sampler in samplers:
        lib.llama_sampler_chain_add(made, sampler)
    return made


def natives(params, seed):
    """llama.cpp's samplers for `params`, in the order of its common/sampling.cpp, without penalties."""
    made = []
    if params.mirostat:
        made.append(lib.llama_sampler_init_temp(params.temperature))
        tau, eta = params.mirostat_tau, params.mirostat_eta
        if params.mirostat == 1:
            made.append(lib.llama_sampler_init_mirostat(len(SMALL), seed, tau, eta, 100))
        else:
            made.append(lib.llama_sampler_init_mirostat_v2(seed, tau, eta))
        return chain(*made)
    made.append(lib.llama_sampler_init_top_k(params.top_k))
    made.append(lib.llama_sampler_init_typical(params.typical_p, 1))
    made.append(lib.llama_sampler_init_top_p(params.top_p, 1))
    made.append(lib.llama_sampler_init_min_p(params.min_p, 1))
    made.append(lib.llama_sampler_init_xtc(params.xtc_probability, params.xtc_threshold, 1, seed))
    made.append(lib.llama_sampler_init_temp(params.temperature))
    return chain(*made, lib.llama_sampler_init_dist(seed))


@pytest.mark.parametrize("stage", [64, N_VOCAB])
@pytest.mark.parametrize(
    ("params", "sampler"),
    [
        *(({"top_k": k}, lambda k=k: lib.llama_sampler_init_top_k(k)) for k in (1, 7, 40)),
        *(({"top_p": p}, lambda p=p: lib.llama_sampler_init_top_p(p, 1)) for p in (0.0, 0.3, 0.8, 0.95)),
        *(({"min_p": p}, lambda p=p: lib.llama_sampler_init_min_p(p, 1)) for p in (0.001, 0.05, 0.5, 1.0)),
        *(({"typical_p": p}, lambda p=p: lib.llama_sampler_init_typical(p, 1)) for p in (0.05, 0.4, 0.9)),
        *(
            (
                {"xtc_probability": ALWAYS, "xtc_threshold": t},
                lambda t=t: lib.llama_sampler_init_xtc(ALWAYS, t, 1, 1),
            )
            for t in (0.001, 0.02, 0.1, 0.5, 0.7)
        ),
        (
            {"top_k": 50, "typical_p": 0.9, "top_p": 0.8, "min_p": 0.1, "xtc_probability": ALWAYS},
            lambda: chain(
                lib.llama_sampler_init_top_k(50),
                lib.llama_sampler_init_typical(0.9, 1),
                lib.llama_sampler_init_top_p(0.8, 1),
                lib.llama_sampler_init_min_p(0.1, 1),
                lib.llama_sampler_init_xtc(ALWAYS, 0.1, 1, 1),
            ),
        ),
    ],
)
def test_the_same_tokens_are_kept(params, sampler, stage):
    samplers = [ChoiceSampler(SamplingParams(**params)) for _ in ROWS]

    with np.errstate(all="ignore"):
        ids, _, kept, decided = truncated(ROWS, samplers, stage)

    assert decided.all() or stage < N_VOCAB
    for row, row_ids, row_kept, done in zip(ROWS, ids, kept, decided, strict=True):
        if done:
            assert set(row_ids[row_kept].tolist()) == Candidates(row).apply(sampler()).ids()


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 1.7},
        {"top_k": 4, "temperature": 1.3},
        {"top_p": 0.85},
        {"min_p": 0.15, "temperature": 1.5},
        {"typical_p": 0.6},
        {"xtc_probability": 0.4, "xtc_threshold": 0.15},
        {"top_k": 6, "top_p": 0.9, "xtc_probability": 0.5, "temperature": 0.8},
        {"mirostat": 1, "mirostat_tau": 1.2, "mirostat_eta": 0.05},
        {"mirostat": 2, "mirostat_tau": 1.2, "mirostat_eta": 0.05},
        {"mirostat": 2, "mirostat_tau": 2.0, "temperature": 0.7},
    ],
    ids=str,
)
def test_tokens_are_drawn_with_the_same_odds(params):
    """Chi-square of two samples, ours and theirs, of the same size."""
    n = 4000
    settings = SamplingParams(seed=11, **params)
    one, step = ChoiceSampler(settings), StepSampler(len(SMALL))
    ours = Counter(step.choose(SMALL[None], [Pick(0, one)])[0].token for _ in range(n))
    native = natives(settings, seed=5)
    theirs = Counter(Candidates(SMALL).apply(native).token() for _ in range(n))

    tokens = sorted(ours | theirs)
    statistic = sum((ours[token] - theirs[token]) ** 2 / (ours[token] + theirs[token]) for token in tokens)
    assert len(tokens) == 1 or statistic < CHI_SQUARE[len(tokens) - 1]


def test_penalties_change_the_same_logits():
    params = SamplingParams(
        repeat_penalty=1.3, repeat_last_n=8, frequency_penalty=0.4, presence_penalty=-0.3, logit_bias={5: 2.0, 9: -1.5}
    )
    prompt, generated = [5, 9, 17, 5, 3], [9, 9, 30, 5, 9, 30]
    one = ChoiceSampler(params, prompt=prompt)
    repeat = lib.llama_sampler_init_penalties(N_VOCAB, 8, 1.3, 0.0, 0.0)
    count = lib.llama_sampler_init_penalties(N_VOCAB, 64, 1.0, 0.4, -0.3)
    for token in prompt:
        lib.llama_sampler_accept(repeat, token)
    for token in generated:
        one.accept(token)
        lib.llama_sampler_accept(repeat, token)
        lib.llama_sampler_accept(count, token)
    bias = (lib.llama_logit_bias * 2)((5, 2.0), (9, -1.5))

    row = ROWS[0].copy()
    one.adjust(row)
    theirs = Candidates(ROWS[0])
    for sampler in (lib.llama_sampler_init_logit_bias(N_VOCAB, 2, bias), repeat, count):
        theirs.apply(sampler)

    assert row == pytest.approx(np.array([theirs.logits()[token] for token in range(N_VOCAB)]), abs=1e-5)


@pytest.mark.real_model
@pytest.mark.parametrize("texts", [(), ("\n", ":", '"', "*"), (" ship sails", "ab\n")])
@pytest.mark.parametrize("allowed_length", [0, 1, 2, 4])
@pytest.mark.parametrize("last_n", [16, 64, 1000])
def test_dry_penalises_the_same_tokens_by_as_much(driver, texts, allowed_length, last_n):
    tokenizer = driver.engine.tokenizer
    story = "The ship sails: far away.\nThe ship sails: far, far away, and the ship sails on: far away"
    history = tokenizer.encode(story, special=False)
    params = SamplingParams(
        dry_multiplier=0.8,
        dry_base=1.75,
        dry_allowed_length=allowed_length,
        dry_penalty_last_n=last_n,
        dry_sequence_breakers=texts,
    )
    ours = ChoiceSampler(params, prompt=history, breakers=BreakerFinder(tokenizer).find(texts))
    array = (ctypes.c_char_p * max(1, len(texts)))(*(text.encode() for text in texts))
    pointer = ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p))
    native = lib.llama_sampler_init_dry(tokenizer._vocab, 0.8, 1.75, allowed_length, last_n, pointer, len(texts))
    for token in history:
        lib.llama_sampler_accept(native, token)

    row = np.zeros(tokenizer.n_vocab, np.float32)
    ours.adjust(row)

    expected = Candidates(np.zeros(tokenizer.n_vocab, np.float32)).apply(native).logits()
    penalised = {token: logit for token, logit in expected.items() if logit}
    assert {int(token): float(row[token]) for token in np.flatnonzero(row)} == pytest.approx(penalised, rel=1e-5)
