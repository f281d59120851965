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
    result = np.empty(len(rows), np.float64)
    work = np.empty((min(len(rows), ROWS_AT_ONCE), rows.shape[1]), np.float32)
    for i in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[i : i + ROWS_AT_ONCE]
        top = some.max(axis=1, keepdims=True)
        weights = np.subtract(some, top, out=work[: len(some)])
        np.exp(weights, out=weights)
        result[i : i + ROWS_AT_ONCE] = np.log(weights.sum(axis=1, dtype=np.float64)) + top[:, 0]
    return result


def most_likely(rows: Logits, n: int) -> tuple[Ids, Logits]:
    """(token ids, logits), [n_rows, at least min(n, width)] of each, most likely first, of equals the lower id; -inf
    past a row's end.

    `rows` may be padded. Those that may be among the first `n` are found without sorting the others.
    """
    n_rows, width = rows.shape
    if n >= width:
        ids = np.argsort(-rows, axis=1)
        return ids, np.take_along_axis(rows, ids, axis=1)
    flat = np.flatnonzero(rows >= _at_most_nth(rows, n)[:, None])
    counts = np.diff(np.searchsorted(flat, np.arange(n_rows + 1) * width))
    there = np.arange(counts.max()) < counts[:, None]
    keys = np.full(there.shape, _LAST)
    keys[there] = _keys(rows.reshape(-1)[flat], flat % width)
    keys.sort(axis=1)
    ids, logits = _of_keys(keys)
    return np.where(there, ids, 0), np.where(there, logits, -np.inf).astype(np.float32)


def _at_most_nth(rows: Logits, n: int) -> Logits:
    """float32[n_rows]: not above each row's `n`-th largest. For a few of many, the `n`-th of the largest of each block
    of tokens, which is found faster."""
    n_rows, width = rows.shape
    n_blocks = width // BLOCKS_OF
    if 2 * n > n_blocks:
        return np.asarray(np.partition(rows, width - n, axis=1)[:, width - n])
    largest = rows[:, : n_blocks * BLOCKS_OF].reshape(n_rows, BLOCKS_OF, n_blocks).max(axis=1)
    largest.partition(n_blocks - n, axis=1)
    return np.asarray(largest[:, n_blocks - n])


# A logit and its id as one number, the smaller the likelier: NumPy sorts numbers several times faster than it finds the
# order of others. A float's bits ascend with it once the sign is turned, and all of them where it is negative.

_SIGN = np.uint32(0x8000_0000)
_ID = np.uint64(0xFFFF_FFFF)
_LAST = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _keys(logits: Logits, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    bits = (logits + np.float32(0)).view(np.uint32)  # -0.0 is 0.0
    descending = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    keys: npt.NDArray[np.uint64] = descending.astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64)
    return keys


def _of_keys(keys: npt.NDArray[np.uint64]) -> tuple[Ids, Logits]:
    descending = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(descending & _SIGN, descending, ~(descending | _SIGN))
    return (keys & _ID).astype(np.int64), bits.view(np.float32)
