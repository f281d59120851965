"""Sequences to schedule, and a scheduler over the fake cache."""

import numpy as np
import pytest

from aiadmin_core.backend import TokenRequest
from aiadmin_core.jobs import Job
from aiadmin_core.sampling.choice import ChoiceSampler
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.engine.kv import KvCache
from aiadmin_llamacpp.engine.parked import ParkedPrefixes
from aiadmin_llamacpp.engine.scheduler import Scheduler
from aiadmin_llamacpp.engine.sequence import Choice, Sequence
from aiadmin_llamacpp.engine.tokens import TokenBuffer


class Counting:
    """Makes sequences that arrive one after the other."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, prompt, *, max_tokens=4, n=1, priority=0, salt="", seed=None, temperature=1.0, score=False):
        self.n += 1
        request = TokenRequest(
            id=self.n,
            prompt=(),
            sampling=SamplingParams(seed=seed, temperature=temperature),
            max_tokens=max_tokens,
            n=n,
            priority=priority,
            cache_salt=salt,
            score_prompt=score,
        )
        job = Job(request=request, tokens=np.array(prompt, np.int32), max_tokens=max_tokens, arrival=self.n)
        return Sequence(
            job, TokenBuffer(prompt), [Choice(index, ChoiceSampler(request.sampling)) for index in range(n)]
        )


@pytest.fixture(scope="session")
def counting():
    return Counting


@pytest.fixture
def sequence():
    return Counting()


class World:
    """A scheduler over a fake cache, and what the loop does around it."""

    def __init__(
        self, memory, *, n_cells=256, n_batch=32, n_parallel=4, n_sequences=16, parking=None, copies_pay=True, **options
    ) -> None:
        self.memory = memory
        self.kv = KvCache(memory, n_cells=n_cells, n_sequences=n_sequences, keeps_order=memory.keeps_order)
        parked = ParkedPrefixes(self.kv, memory, parking, lambda **_: copies_pay) if parking else None
        self.scheduler = Scheduler(self.kv, n_batch=n_batch, n_parallel=n_parallel, parked=parked, **options)
        self.finished: list[tuple[int, int]] = []
        self.n_full = 0
        self.n_accepted = 0

    def add(self, sequence):
        """Queue it, with what guesses its tokens, if anything does."""
        for choice, drafter in zip(sequence.choices, self.scheduler.drafters(sequence.job), strict=True):
            choice.drafter = drafter
        self.scheduler.add(sequence)

    def step(self, *, pick=lambda sequence: 7):
        """Plan, decode and commit one step; every sequence that wants a token gets `pick(sequence)`."""
        step = self.scheduler.next_step(now=1.0, prefill_tokens_per_s=1e6)
        self.n_full += len(step.full)
        for piece in step.pieces:
            slot = piece.sequence.slot
            self.memory.decode(slot.id, piece.sequence.tokens.view(slot.n, slot.n + piece.n))
        for _, sequence in self.scheduler.commit(step):
            assert self.memory.tokens(sequence.slot.id) == sequence.tokens.view().tolist()
            sequence.job.prefilled_at = 1.0
            while self._advance(sequence, pick(sequence)):
                self.n_accepted += 1
        return step

    def _advance(self, sequence, token):
        choice = sequence.choices[0]
        choice.sampler.accept(token)
        if choice.drafter is not None:
            choice.drafter.accept(token)
        if choice.n_sampled >= sequence.job.max_tokens:
            self.scheduler.finish(sequence)
            self.finished.append((sequence.job.request.id, choice.index))
            return False
        return self.scheduler.follow(sequence, token)


@pytest.fixture(scope="session")
def world(fake_memory):
    return lambda memory=None, **sizes: World(memory or fake_memory(), **sizes)
