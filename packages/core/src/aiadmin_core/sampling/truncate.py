"""Which of the most likely tokens stay: every truncation, for all rows at once. Pure.

`logits` are float64[n_rows, n], most likely first, -inf past a row's end; `kept` and `p` (probabilities) have the same
shape. Each function takes away from `kept`, never everything of a row. The rules are those of llama.cpp's samplers
(src/llama-sampler.cpp of 0c1e570). Sums run from left to right, so that a row's bits do not depend on how far the rows
beside it have it padded.
"""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Kept = npt.NDArray[np.bool_]


def log_sum(logits: Values, kept: Kept) -> Values:
    """float64[n_rows]: the logarithm of the sum of the kept tokens' exponentials."""
    top = np.where(kept, logits, -np.inf).max(axis=1, keepdims=True)
    sums = np.cumsum(np.where(kept, np.exp(logits - top), 0.0), axis=1)[:, -1]
    result: Values = np.log(sums) + top[:, 0]
    return result


def probabilities(logits: Values, kept: Kept, log_total: Values) -> Values:
    """Of the kept tokens, 0 for the others; `log_total` ([n_rows]) is the logarithm of what they are shares of."""
    return np.where(kept, np.exp(logits - log_total[:, None]), 0.0)


def top_k(kept: Kept, k: npt.NDArray[np.int64]) -> Kept:
    """The first `k`; 0 keeps all."""
    result: Kept = kept & ((np.arange(kept.shape[1]) < k[:, None]) | (k[:, None] == 0))
    return result


def typical_p(p: Values, kept: Kept, share: Values) -> Kept:
    """Those whose surprise is nearest to the expected one, until they sum to more than `share`. Needs whole rows."""
    surprise = -np.log(p)
    entropy = np.cumsum(np.where(p > 0, p * surprise, 0.0), axis=1)[:, -1:]
    distance = np.where(kept, np.abs(surprise - entropy), np.inf)
    order = np.argsort(distance, axis=1, kind="stable")
    chosen = np.empty_like(kept)
    np.put_along_axis(chosen, order, _sums_before(np.take_along_axis(p, order, axis=1)) <= share[:, None], axis=1)
    return kept & (chosen | (share >= 1)[:, None])


def top_p(p: Values, kept: Kept, share: Values) -> Kept:
    """The smallest set that reaches `share`, one token at least."""
    result: Kept = kept & ((_sums_before(p) < share[:, None]) | (share >= 1)[:, None] | _first(kept))
    return result


def min_p(logits: Values, kept: Kept, share: Values) -> Kept:
    """Those that have at least `share` of the most likely one's probability."""
    top = np.where(kept, logits, -np.inf).max(axis=1, keepdims=True)
    result: Kept = kept & ((logits >= top + np.log(share)[:, None]) | _first(kept))
    return result


def xtc(p: Values, kept: Kept, threshold: Values) -> Kept:
    """Without those that reach `threshold`, but for the least likely of them."""
    above = kept & (p >= threshold[:, None])
    behind = above.sum(axis=1, keepdims=True) - np.cumsum(above, axis=1)
    result: Kept = kept & ~(above & (behind > 0))
    return result


def surprise_at_most(p: Values, kept: Kept, most: Values) -> Kept:
    """Those whose surprise, in bits, is no more than `most`; one at least. Mirostat 2."""
    result: Kept = kept & ((-np.log2(p) <= most[:, None]) | _first(kept))
    return result


def mirostat_k(p: Values, most: Values, n_vocab: int) -> npt.NDArray[np.int64]:
    """How many tokens mirostat 1 keeps: as many as a Zipf distribution, fitted to the 100 most likely, has below a
    surprise of `most` bits."""
    first = p[:, :_FITTED]
    places = np.arange(1, first.shape[1], dtype=np.float64)
    t = np.log((places + 1) / places)
    b = np.log(first[:, :-1] / first[:, 1:])
    there = np.isfinite(b)
    s = np.where(there, t * b, 0.0).sum(axis=1) / np.where(there, t * t, 0.0).sum(axis=1)
    epsilon = s - 1
    k = ((epsilon * 2.0**most) / (1 - float(n_vocab) ** -epsilon)) ** (1 / s)
    found = np.nan_to_num(k, nan=float(n_vocab), posinf=float(n_vocab), neginf=1.0)
    kept: npt.NDArray[np.int64] = np.clip(found, 1, n_vocab).astype(np.int64)
    return kept


def _sums_before(p: Values) -> Values:
    return np.cumsum(p, axis=1) - p


def _first(kept: Kept) -> Kept:
    """The first kept token of each row."""
    result: Kept = kept & (np.cumsum(kept, axis=1) == 1)
    return result


_FITTED = 100
