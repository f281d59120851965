"""Rows of logits: masks, log-probabilities, and the most likely tokens of each without sorting the vocabulary. Pure."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AiAdminError

Logits = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

ROWS_AT_ONCE = 4
"""Rows whose every logit is computed with together: they share the cost of the calls, and more would leave the
processor's cache (16 rows of 49,152 logits, drawn from: 198 microseconds each at once, 58 by fours)."""

BLOCKS_OF = 64
"""Widths are padded to a multiple of it, with -inf."""


class ConstraintExhausted(AiAdminError):
    """The constraint allows no token at all."""

    code = "constraint_exhausted"


def padded(n_vocab: int) -> int:
    """The width of a row with room for `n_vocab` logits."""
    return -(-n_vocab // BLOCKS_OF) * BLOCKS_OF


def checked_mask(mask: Any) -> npt.NDArray[np.int32] | None:
    """`mask` (see `backend.Matcher`) as an array; None where it allows everything.

    Raises `ConstraintExhausted` if it allows nothing.
    """
    if mask is None:
        return None
    words = np.ascontiguousarray(mask, dtype="<i4").reshape(-1)
    if not words.any():
        raise ConstraintExhausted(
            "The constraint allows no token to follow.", hint="The schema or grammar cannot be satisfied from here."
        )
    return words


def apply_mask(row: Logits, words: npt.NDArray[np.int32]) -> None:
    """Put -inf where `words` (bit i of word i // 32 is token i) have no bit; tokens past their end are not allowed."""
    allowed = np.unpackbits(words.view(np.uint8), count=len(row), bitorder="little")
    np.copyto(row, -np.inf, where=allowed == 0)


def log_sum_exp(rows: Logits) -> npt.NDArray[np.float64]:
    """float64[n_rows]: the logarithm of the sum of each row's exponentials."""
    if len(rows) > ROWS_AT_ONCE:
        parts = [log_sum_exp(rows[i : i + ROWS_AT_ONCE]) for i in range(0, len(rows), ROWS_AT_ONCE)]
        return np.concatenate(parts)
    top = rows.max(axis=-1, keepdims=True)
    sums = np.exp(rows - top).sum(axis=-1, dtype=np.float64)
    result: npt.NDArray[np.float64] = np.log(sums) + top[..., 0]
    return result


def most_likely(rows: Logits, n: int) -> tuple[Ids, Logits]:
    """(token ids, logits), [n_rows, at least min(n, width)] of each, most likely first, -inf past a row's end.

    `rows` may be padded. A few of many are found by the largest of each block of tokens: the n-th largest of these is
    no more than the n-th largest of all.
    """
    n_rows, width = rows.shape
    n_blocks = width // BLOCKS_OF
    if n >= width:
        ids = np.argsort(-rows, axis=1)
        return ids, np.take_along_axis(rows, ids, axis=1)
    if 2 * n <= n_blocks:
        largest = rows[:, : n_blocks * BLOCKS_OF].reshape(n_rows, BLOCKS_OF, n_blocks).max(axis=1)
        largest.sort(axis=1)
        least = largest[:, n_blocks - n]
    else:
        least = np.partition(rows, width - n, axis=1)[:, width - n]
    row_of, ids = np.divmod(np.flatnonzero(rows >= least[:, None]), width)
    counts = np.bincount(row_of, minlength=n_rows)
    place = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((n_rows, int(counts.max())), -np.inf, np.float32)
    found_ids = np.zeros(found.shape, np.int64)
    found[row_of, place] = rows[row_of, ids]
    found_ids[row_of, place] = ids
    order = np.argsort(-found, axis=1, kind="stable")  # of equals the lower id
    return np.take_along_axis(found_ids, order, axis=1), np.take_along_axis(found, order, axis=1)
