"""Chooses the next token of every sequence in a batch. Engine thread only.

The order and the meaning of seeds are those of `aiadmin_core.sampling`: bias and penalties, the constraint's mask,
top_k, top_p, min_p, XTC, then temperature; random numbers are a function of the seed and of the token's place in the
answer. Logits stay where MLX has them, so the draw is a Gumbel-max with a key made of these numbers: what a sequence
draws does not depend on who shares its batch, and a token that is masked out can never come up.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from aiadmin_core.backend import Matcher
from aiadmin_core.sampling.choice import GREEDY_BELOW
from aiadmin_core.sampling.draws import Draws, seed_of
from aiadmin_core.specs.sampling import SamplingParams

SUPPORTED = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "xtc_probability",
        "xtc_threshold",
        "frequency_penalty",
        "presence_penalty",
        "repeat_penalty",
        "repeat_last_n",
        "logit_bias",
        "seed",
        "logprobs",
        "ignore_eos",
    }
)
"""For `Capabilities.sampling`: what is computed here, `ignore_eos` (which the loop sees to) and nothing else."""

_XTC_OFF_ABOVE = 0.5
"""No two tokens can both have more."""

Numbers = Sequence[float] | np.ndarray[Any, Any] | None
"""A row's random numbers in this step; None where it takes the most likely token."""


class Sampler:
    """How one choice's tokens are chosen: its settings, its random numbers, and what penalties look back on."""

    def __init__(self, params: SamplingParams, *, matcher: Matcher | None, prompt: Sequence[int], choice: int) -> None:
        self.params = params
        self.matcher = matcher
        self._draws = Draws(seed_of(params.seed, choice))
        self._n_drawn = 0
        self._counts: Counter[int] = Counter()
        self._recent = list(prompt) if params.repeat_penalty != 1 else []
        self.greedy = params.temperature < GREEDY_BELOW or params.top_k == 1 or params.top_p == 0
        self.truncates = not self.greedy and (params.top_k > 0 or params.top_p < 1)
        self._penalises = bool(params.frequency_penalty or params.presence_penalty or params.repeat_penalty != 1)

    @property
    def waits(self) -> bool:
        """Whether the next token can only be chosen once the last one is known to the host."""
        return self.matcher is not None or self._penalises

    def accept(self, token: int) -> None:
        """`token` was chosen, and is not the last one."""
        if self._penalises:
            self._counts[token] += 1
            self._recent.append(token)
        if self.matcher is not None:
            self.matcher.commit(token)

    def next_numbers(self) -> Numbers:
        """The random numbers of the next token."""
        if self.greedy:
            return None
        self._n_drawn += 1
        return self._draws.at(self._n_drawn - 1)

    def adjust(self, row: mx.array) -> mx.array:
        """`row` (float32[n_logits]) after bias and penalties."""
        params = self.params
        if params.logit_bias:
            row = _add(row, params.logit_bias)
        if params.repeat_penalty != 1 and (window := self._window()):
            ids = mx.array(sorted(set(window)))
            logits = row[ids]
            scaled = mx.where(logits > 0, logits / params.repeat_penalty, logits * params.repeat_penalty)
            row = row.at[ids].add(scaled - logits)
        if self._counts and (params.frequency_penalty or params.presence_penalty):
            frequency, presence = params.frequency_penalty, params.presence_penalty
            row = _add(row, {token: -(frequency * n + presence) for token, n in self._counts.items()})
        return row

    @property
    def adjusts(self) -> bool:
        """Whether `adjust` changes anything."""
        return self._penalises or bool(self.params.logit_bias)

    def _window(self) -> list[int]:
        n = self.params.repeat_last_n
        return self._recent if n < 0 else self._recent[len(self._recent) - min(n, len(self._recent)) :]


@dataclass(kw_only=True)
class Chosen:
    """One step's tokens, not computed yet. Rows are the batch's."""

    tokens: mx.array
    """uint32[n_rows]"""
    reported: tuple[int, ...] = ()
    """Rows whose log-probabilities were asked for; the arrays below have one row for each."""
    logprobs: mx.array | None = None
    """float32[n_reported], of the chosen tokens"""
    top: mx.array | None = None
    """uint32[n_reported, n_top], in no order"""
    top_logprobs: mx.array | None = None

    @property
    def arrays(self) -> list[mx.array]:
        return [array for array in (self.tokens, self.logprobs, self.top, self.top_logprobs) if array is not None]

    def read(self) -> "list[tuple[int, float, tuple[tuple[int, float], ...]]]":
        """(token, log-probability, alternatives) of each row, the alternatives most likely first. Waits."""
        mx.eval(self.arrays)
        rows: list[tuple[int, float, tuple[tuple[int, float], ...]]] = [(t, 0.0, ()) for t in self.tokens.tolist()]
        if self.logprobs is None:
            return rows
        logprobs = self.logprobs.tolist()
        for index, row in enumerate(self.reported):
            pairs: list[tuple[int, float]] = []
            if self.top is not None and self.top_logprobs is not None:
                pairs = list(zip(self.top[index].tolist(), self.top_logprobs[index].tolist(), strict=True))
            top = tuple(sorted(pairs, key=lambda pair: -pair[1]))
            rows[row] = (rows[row][0], logprobs[index], top)
        return rows


def choose(logits: mx.array, samplers: Sequence[Sampler], masks: Sequence[Any]) -> Chosen:
    """Choose one token a row. `logits` is [n_rows, n_logits] of any float type; `masks` has one bitmask (see
    `Matcher.mask`) or None a row. Nothing is computed yet when this returns."""
    rows = logits.astype(mx.float32)
    scores = rows
    if any(sampler.adjusts for sampler in samplers):
        adjusted = [s.adjust(rows[i]) if s.adjusts else rows[i] for i, s in enumerate(samplers)]
        scores = mx.stack(adjusted)
    if any(mask is not None for mask in masks):
        scores = mx.where(_unpack(masks, scores.shape[1]), scores, -mx.inf)
    if not all(sampler.greedy for sampler in samplers):
        numbers = [sampler.next_numbers() for sampler in samplers]
        scores = _perturb(_cross_out(_truncate(scores, samplers), samplers, numbers), samplers, numbers)
    tokens = mx.argmax(scores, axis=-1)
    return _report(Chosen(tokens=tokens), rows, samplers)


def _truncate(scores: mx.array, samplers: Sequence[Sampler]) -> mx.array:
    """Drop what top_k, top_p and min_p drop: each row's scores below its threshold become -inf."""
    thresholds = mx.full((len(samplers), 1), -mx.inf)
    if any(sampler.truncates for sampler in samplers):
        n_logits = scores.shape[1]
        wanted = [s.params.top_k if s.truncates else 0 for s in samplers]
        # Cut here: MLX raises for what is no int32, and the step is everybody's.
        top_k = _column([min(k or n_logits, n_logits) for k in wanted], mx.int32)
        top_p = _column([s.params.top_p if s.truncates else 2.0 for s in samplers])
        ordered = -mx.sort(-scores, axis=-1)
        kept = mx.softmax(mx.where(mx.arange(n_logits)[None] < top_k, ordered, -mx.inf), axis=-1)
        above = mx.cumsum(kept, axis=-1, inclusive=False)
        n_kept = mx.minimum(mx.sum(above < top_p, axis=-1, keepdims=True), top_k)
        thresholds = mx.take_along_axis(ordered, mx.maximum(n_kept, 1) - 1, axis=-1)
    if any(sampler.params.min_p for sampler in samplers):
        log_min_p = [math.log(s.params.min_p) if s.params.min_p else -math.inf for s in samplers]
        thresholds = mx.maximum(thresholds, mx.max(scores, axis=-1, keepdims=True) + _column(log_min_p))
    return mx.where(scores >= thresholds, scores, -mx.inf)


def _cross_out(scores: mx.array, samplers: Sequence[Sampler], numbers: Sequence[Numbers]) -> mx.array:
    """XTC: where it acts, all tokens that reach the threshold but the least likely of them become -inf."""
    acts = [
        row is not None and 0 < one.params.xtc_probability >= row[1] and one.params.xtc_threshold <= _XTC_OFF_ABOVE
        for one, row in zip(samplers, numbers, strict=True)
    ]
    if not any(acts):
        return scores
    chances = mx.softmax(scores, axis=-1)
    thresholds = _column([s.params.xtc_threshold if act else 2.0 for s, act in zip(samplers, acts, strict=True)])
    above = chances >= thresholds
    least = mx.min(mx.where(above, chances, mx.inf), axis=-1, keepdims=True)
    return mx.where(above & (chances > least), -mx.inf, scores)


def _perturb(scores: mx.array, samplers: Sequence[Sampler], numbers: Sequence[Numbers]) -> mx.array:
    """Divide by the temperature and add Gumbel noise, but for greedy rows: the largest score is then a draw."""
    n_logits = scores.shape[1]
    quiet = mx.zeros((n_logits,))
    keys = [None if row is None else mx.random.key(int(row[0] * 2**53)) for row in numbers]
    noise = [quiet if key is None else mx.random.gumbel((n_logits,), key=key) for key in keys]
    temperatures = _column([1.0 if s.greedy else s.params.temperature for s in samplers])
    return scores / temperatures + mx.stack(noise)


def _report(chosen: Chosen, rows: mx.array, samplers: Sequence[Sampler]) -> Chosen:
    """Add the log-probabilities that are asked for, of the model's own distribution (`rows`)."""
    chosen.reported = tuple(i for i, sampler in enumerate(samplers) if sampler.params.logprobs is not None)
    if not chosen.reported:
        return chosen
    index = mx.array(chosen.reported)
    asked = rows[index]
    asked = asked - mx.logsumexp(asked, axis=-1, keepdims=True)
    chosen.logprobs = mx.take_along_axis(asked, chosen.tokens[index][:, None], axis=-1)[:, 0]
    n_top = min(max(samplers[i].params.logprobs or 0 for i in chosen.reported), rows.shape[1])
    if n_top:
        # Everybody gets as many as the row that asked for most; `Sequence` cuts its own.
        chosen.top = mx.argpartition(-asked, kth=n_top - 1, axis=-1)[:, :n_top]
        chosen.top_logprobs = mx.take_along_axis(asked, chosen.top, axis=-1)
    return chosen


def _unpack(masks: Sequence[Any], n_logits: int) -> mx.array:
    """Bitmasks -> bool[n_rows, n_logits]; logits past the end of a mask are not allowed."""
    n_words = (n_logits + 31) // 32
    words = np.full((len(masks), n_words), 0xFFFFFFFF, np.uint32)
    for row, mask in enumerate(masks):
        if mask is not None:
            given = np.asarray(mask).view(np.uint32)[:n_words]
            words[row] = 0
            words[row, : len(given)] = given
    bits = (mx.array(words)[..., None] >> mx.arange(32, dtype=mx.uint32)) & 1
    return bits.reshape(len(masks), -1)[:, :n_logits].astype(mx.bool_)


def _add(row: mx.array, amounts: dict[int, float]) -> mx.array:
    return row.at[mx.array(list(amounts))].add(mx.array(list(amounts.values()), dtype=mx.float32))


def _column(values: Sequence[float], dtype: Any = mx.float32) -> mx.array:
    return mx.array(values, dtype=dtype)[:, None]
