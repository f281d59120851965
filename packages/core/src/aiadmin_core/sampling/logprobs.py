"""The model's own log-probabilities of given tokens, and of the most likely ones beside them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .rows import Logits, log_sum_exp, most_likely


class Likelihood(NamedTuple):
    """Of one token in its place."""

    logprob: float
    top: tuple[tuple[int, float], ...]
    """(token, log-probability), most likely first."""


def likelihoods(rows: Logits, tokens: Sequence[int] | npt.NDArray[np.int32], n_most: int) -> list[Likelihood]:
    """Of `tokens`, one for each of `rows` (float32[n_rows, n_vocab]), with `n_most` alternatives."""
    with np.errstate(all="ignore"):  # the row of a broken model may be anything
        log_total = log_sum_exp(rows)
        n_most = min(n_most, rows.shape[1])
        ids, found = most_likely(rows, n_most) if n_most else (np.empty((len(rows), 0), np.int64), rows[:, :0])
        own = rows[np.arange(len(rows)), tokens] - log_total
        tops = zip(ids[:, :n_most].tolist(), (found - log_total[:, None])[:, :n_most].tolist(), strict=True)
    return [Likelihood(logprob, tuple(zip(*top, strict=True))) for logprob, top in zip(own.tolist(), tops, strict=True)]
