"""One step's tokens from one step's logits. Engine thread only.

Rows that only take the most likely token cost an argmax. The others are copied, adjusted in few places and masked; what
is drawn from is then either the whole row (nothing truncates it) or its most likely tokens, found without sorting the
vocabulary and truncated for all rows at once. Each row's result depends on that row alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import truncate
from .choice import ChoiceSampler
from .logprobs import likelihoods
from .rows import BLOCKS_OF, ROWS_AT_ONCE, Ids, Logits, apply_mask, log_sum_exp, most_likely, padded
from .truncate import Kept, Values

STAGES = (256, 1024, 4096)
"""How many of the most likely tokens are looked at; the next number, and in the end all, where these do not decide."""

Samplers = Sequence[ChoiceSampler]


class Pick(NamedTuple):
    """A token to choose."""

    row: int
    """Of the step's logits. The choices of a request read their first token from one."""
    sampler: ChoiceSampler
    mask: npt.NDArray[np.int32] | None = None
    """As `rows.checked_mask` gives it."""

    @property
    def is_plain(self) -> bool:
        """Whether it is the row's most likely token, whatever that is."""
        return self.sampler.greedy and self.mask is None and not self.sampler.adjusts


class Chosen(NamedTuple):
    """A token, and what was asked to be reported of the model's own distribution: before bias, penalties and mask."""

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


class StepSampler:
    """Chooses tokens out of a vocabulary of `n_vocab`."""

    def __init__(self, n_vocab: int) -> None:
        self._n_vocab = n_vocab
        self._work: Logits = np.empty((0, padded(n_vocab)), np.float32)

    def choose(self, logits: Logits, picks: Sequence[Pick]) -> list[Chosen]:
        """A token for each of `picks`, counted in with its sampler. `logits` is float32[n_rows, n_vocab], and stays as
        it is."""
        tokens = np.zeros(len(picks), np.int64)
        plain = [i for i, pick in enumerate(picks) if pick.is_plain]
        others = [i for i, pick in enumerate(picks) if not pick.is_plain]
        with np.errstate(all="ignore"):  # logarithms of 0 are meant; the row of a broken model may be anything
            if plain:
                tokens[plain] = _rows(logits, [picks[i].row for i in plain]).argmax(axis=1)
            if others:
                tokens[others] = self._choose(logits, [picks[i] for i in others])
            chosen = _report(logits, picks, tokens.tolist())
        for pick, one in zip(picks, chosen, strict=True):
            pick.sampler.accept(one.token)
        return chosen

    def _choose(self, logits: Logits, picks: Sequence[Pick]) -> Ids:
        work = self._adjusted(logits, picks)
        tokens = np.zeros(len(picks), np.int64)
        ways = [_way(pick.sampler, self._n_vocab) for pick in picks]
        for way in dict.fromkeys(ways):
            places = [i for i, other in enumerate(ways) if other is way]
            tokens[places] = way(_rows(work, places), [picks[i].sampler for i in places])
        return np.minimum(tokens, self._n_vocab - 1)

    def _adjusted(self, logits: Logits, picks: Sequence[Pick]) -> Logits:
        """float32[n_picks, padded width]: biased, penalised, masked; a buffer that the next step uses again."""
        if len(self._work) < len(picks):
            self._work = np.empty((len(picks), padded(self._n_vocab)), np.float32)
        work = self._work[: len(picks)]
        work[:, self._n_vocab :] = -np.inf
        for row, pick in zip(work[:, : self._n_vocab], picks, strict=True):
            row[:] = logits[pick.row]
            if pick.sampler.adjusts:
                pick.sampler.adjust(row)
            if pick.mask is not None:
                apply_mask(row, pick.mask)
        return work


# Four ways to a token: (rows, their samplers) -> token ids. The rows are theirs to overwrite.


def _way(sampler: ChoiceSampler, n_vocab: int) -> Callable[[Logits, Samplers], Ids]:
    params = sampler.params
    if sampler.greedy:
        return _most_likely
    if params.mirostat:
        return _mirostat
    narrows = 0 < params.top_k < n_vocab or params.typical_p < 1 or params.top_p < 1 or params.min_p > 0
    return _truncated if narrows or _crosses_out(sampler) else _whole


def _most_likely(rows: Logits, _samplers: Samplers) -> Ids:
    tokens: Ids = rows.argmax(axis=1)
    return tokens


def _whole(rows: Logits, samplers: Samplers) -> Ids:
    """Draw from all there is: a block of tokens by its weight, then one of the block. `rows` become the weights: memory
    of their size, taken and given back, would cost as much as the rest (the system clears it each time)."""
    if len(rows) > ROWS_AT_ONCE:
        return np.concatenate(
            [
                _whole(rows[i : i + ROWS_AT_ONCE], samplers[i : i + ROWS_AT_ONCE])
                for i in range(0, len(rows), ROWS_AT_ONCE)
            ]
        )
    temperature = _column("temperature", samplers).astype(np.float32)
    rows -= rows.max(axis=1, keepdims=True)
    rows /= temperature[:, None]
    np.exp(rows, out=rows)
    n_rows, width = rows.shape
    blocks = rows.reshape(n_rows, BLOCKS_OF, width // BLOCKS_OF)  # of tokens `width // BLOCKS_OF` apart
    sums = np.cumsum(blocks.sum(axis=1), axis=1, dtype=np.float64)
    target = _uniform(samplers) * sums[:, -1]
    block = np.minimum((sums <= target[:, None]).sum(axis=1), sums.shape[1] - 1)
    at = np.arange(n_rows)
    target -= np.where(block > 0, sums[at, block - 1], 0.0)
    inside = np.cumsum(blocks[at, :, block], axis=1, dtype=np.float64)
    last = BLOCKS_OF - 1 - (blocks[at, ::-1, block] > 0).argmax(axis=1)  # where the sums of floats are short of it
    place = np.minimum((inside <= target[:, None]).sum(axis=1), last)
    tokens: Ids = place * sums.shape[1] + block
    return tokens


def _truncated(rows: Logits, samplers: Samplers) -> Ids:
    """Truncate, cool, draw."""
    return _in_stages(rows, samplers, _truncate_and_draw, log_totals(rows, samplers))


def _mirostat(rows: Logits, samplers: Samplers) -> Ids:
    """Cool, keep what is not too surprising, draw, and learn from the surprise."""
    temperature = _column("temperature", samplers)
    cooled = rows if (temperature == 1).all() else (rows / temperature[:, None]).astype(np.float32)
    return _in_stages(rows, samplers, _mirostat_and_draw, log_sum_exp(cooled))


Draw = Callable[[Logits, Samplers, int, Values], tuple[Ids, npt.NDArray[np.bool_]]]
"""(rows, their samplers, how many of the most likely tokens, totals of whole rows as this way needs them) -> token ids,
and which of them count."""


def _in_stages(rows: Logits, samplers: Samplers, draw: Draw, totals: Values) -> Ids:
    """Among few tokens first, then among more for those rows that these do not decide."""
    tokens = np.zeros(len(rows), np.int64)
    left = [*range(len(rows))]
    width = rows.shape[1]
    for stage in (*(n for n in STAGES if n < width), width):
        own = [samplers[i] for i in left]
        n = min(width, max(stage, *(sampler.params.top_k for sampler in own)))
        drawn, decided = draw(_rows(rows, left), own, n, totals[left])
        for i, token, done in zip(left, drawn.tolist(), decided.tolist(), strict=True):
            if done:
                tokens[i] = token
        left = [i for i, done in zip(left, decided.tolist(), strict=True) if not done]
        if not left:
            break
    return tokens


def log_totals(rows: Logits, samplers: Samplers) -> Values:
    """float64[n_rows]: `log_sum_exp` of the rows whose `top_p` is a share of all tokens, NaN of the others."""
    whole = [i for i, sampler in enumerate(samplers) if sampler.params.top_p < 1 and not sampler.params.top_k]
    totals = np.full(len(rows), np.nan)
    if whole:
        totals[whole] = log_sum_exp(_rows(rows, whole))
    return totals


def _truncate_and_draw(rows: Logits, samplers: Samplers, n: int, totals: Values) -> tuple[Ids, npt.NDArray[np.bool_]]:
    ids, logits, kept, decided = truncated(rows, samplers, n, totals)
    cooled = logits / _column("temperature", samplers)[:, None]
    return _draw(ids, cooled, kept, samplers)[0], decided


def truncated(
    rows: Logits, samplers: Samplers, n: int, totals: Values | None = None
) -> tuple[Ids, Values, Kept, npt.NDArray[np.bool_]]:
    """(token ids, logits, kept) of the `n` most likely tokens of each row, and whether these decide what is kept.
    `totals`: their `log_totals`, where these are known."""
    totals = log_totals(rows, samplers) if totals is None else totals
    ids, found = most_likely(rows, n)
    logits = found.astype(np.float64)
    k, typical, share, least = (_column(name, samplers) for name in ("top_k", "typical_p", "top_p", "min_p"))
    kept = truncate.top_k(np.isfinite(logits), k.astype(np.int64))
    decided = (k > 0) | (n >= rows.shape[1])
    log_total = truncate.log_sum(logits, kept)
    if ((share < 1) & ~decided).any():
        log_total = np.where(decided | (share >= 1), log_total, totals)
    if (typical < 1).any():
        kept = truncate.typical_p(truncate.probabilities(logits, kept, log_total), kept, typical)
        log_total = np.where(typical < 1, truncate.log_sum(logits, kept), log_total)
    if (share < 1).any():
        p = truncate.probabilities(logits, kept, log_total)
        decided |= (typical >= 1) & (share < 1) & (np.cumsum(p, axis=1)[:, -1] >= share)
        kept = truncate.top_p(p, kept, share)
    if (least > 0).any():
        decided |= (typical >= 1) & (least > 0) & (found[:, n - 1] < found[:, 0] + np.log(least))
        kept = truncate.min_p(logits, kept, least)
    if (crossing := np.array([_crosses_out(sampler) for sampler in samplers])).any():
        p = truncate.probabilities(logits, kept, truncate.log_sum(logits, kept))
        crossed = truncate.xtc(p, kept, _column("xtc_threshold", samplers))
        kept = np.where(crossing[:, None], crossed, kept)
    return ids, logits, kept, decided


def _mirostat_and_draw(rows: Logits, samplers: Samplers, n: int, totals: Values) -> tuple[Ids, npt.NDArray[np.bool_]]:
    temperature = _column("temperature", samplers)[:, None]
    ids, found = most_likely(rows, n)
    logits = found.astype(np.float64) / temperature
    kept = np.isfinite(logits)
    p = truncate.probabilities(logits, kept, totals)
    mu = np.array([sampler.mu for sampler in samplers])
    k = truncate.mirostat_k(p, mu, rows.shape[1])
    first = _column("mirostat", samplers) == 1
    kept = np.where(first[:, None], truncate.top_k(kept, k), truncate.surprise_at_most(p, kept, mu))
    decided = np.where(first, k <= n, -np.log2(p[:, n - 1]) > mu) | (n >= rows.shape[1])
    tokens, chances = _draw(ids, logits, kept, samplers)
    for sampler, chance, done in zip(samplers, chances.tolist(), decided.tolist(), strict=True):
        if done:
            sampler.mu -= sampler.params.mirostat_eta * (-np.log2(chance) - sampler.params.mirostat_tau)
    return tokens, decided


def _draw(ids: Ids, logits: Values, kept: Kept, samplers: Samplers) -> tuple[Ids, Values]:
    """(token ids, their probabilities among the kept ones)."""
    sums = np.cumsum(truncate.probabilities(logits, kept, truncate.log_sum(logits, kept)), axis=1)
    target = _uniform(samplers) * sums[:, -1]
    place = np.minimum((sums <= target[:, None]).sum(axis=1), sums.shape[1] - 1)
    at = np.arange(len(ids))
    before = np.where(place > 0, sums[at, place - 1], 0.0)
    return ids[at, place], (sums[at, place] - before) / sums[:, -1]


def _crosses_out(sampler: ChoiceSampler) -> bool:
    """Whether XTC acts on this token: a matter of chance."""
    params = sampler.params
    if params.xtc_probability <= 0 or params.xtc_threshold > _XTC_OFF_ABOVE:
        return False
    return bool(sampler.draws.at(sampler.n_sampled)[1] <= params.xtc_probability)


def _uniform(samplers: Samplers) -> Values:
    return np.array([sampler.draws.at(sampler.n_sampled)[0] for sampler in samplers])


def _column(name: str, samplers: Samplers) -> Values:
    return np.array([getattr(sampler.params, name) for sampler in samplers], np.float64)


def _rows(rows: Logits, places: Sequence[int]) -> Logits:
    """`rows[places]`, not copied where these are the first rows in their order."""
    return rows[: len(places)] if places == [*range(len(places))] else rows[places]


def _report(logits: Logits, picks: Sequence[Pick], tokens: Sequence[int]) -> list[Chosen]:
    chosen = [Chosen(token) for token in tokens]
    asked = [i for i, pick in enumerate(picks) if pick.sampler.params.logprobs is not None]
    if not asked:
        return chosen
    rows = _rows(logits, [picks[i].row for i in asked])
    wanted = [picks[i].sampler.params.logprobs or 0 for i in asked]
    found = likelihoods(rows, [tokens[i] for i in asked], max(wanted))
    for i, n, (logprob, top) in zip(asked, wanted, found, strict=True):
        chosen[i] = Chosen(tokens[i], logprob, top[:n])
    return chosen


_XTC_OFF_ABOVE = 0.5
"""As in llama.cpp: no two tokens can both have more."""
