"""The same request gives the same bits, whatever else is decoded beside it, cached before it or cut differently.

Three things would make a row of logits depend on company:

- Attention. ggml has three ways to compute it, chosen by the number of rows and cells, which round differently; but
  only where keys and values are F16 or F32. With any other type there is one (`ggml_compute_forward_flash_attn_ext`).
- Matrices. Some quantised types are multiplied four rows at a time, and the rows left over by other code: a row's bits
  depend on whether it stands in a block of four. Steps filled up to a multiple of four have no rows left over.
- The order of a sequence's cells, which attention sums in: `kv.KvCache` keeps it that of the positions.

What a model needs on this processor is found by trying, once, when it is opened.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Needs = Literal["nothing", "fours", "impossible", "unmeasured"]
"""What it takes for the same bits again: nothing beyond the cache's type; steps of a multiple of four rows; it cannot
be had; or nobody has tried (a GPU)."""

BLOCK = 4

ONE_PATH = ("q8_0", "bf16")
"""Cache types with one way to compute attention. The first takes half the memory of the second, at the same speed (a
step of SmolLM2: 16.4 and 17.4 ms at 2,000 tokens, 6.4 and 6.2 at 64) and perplexity (18.99 and 19.01; f16 18.99)."""

N_PROBE = 20
"""Tokens that are read again and again to find out: a multiple of four, and three blocks of four or more."""


class Filler(NamedTuple):
    """Rows to decode for nobody."""

    n: int = 0
    n_outputs: int = 0
    """How many of them have their logits computed."""


def filler(n_rows: int, n_outputs: int) -> Filler:
    """What fills a step up, so that neither its rows nor those with logits leave a rest beyond a multiple of four.
    (The last layer is computed for the latter only.)"""
    n_outputs = -n_outputs % BLOCK
    n = n_outputs + -(n_rows + n_outputs) % BLOCK
    return Filler(n, n_outputs)


def most_rows(n_batch: int) -> int:
    """How many rows of a step can be somebody's, if there is to be room for any filler."""
    return n_batch - 2 * BLOCK + 2


Read = Callable[[Sequence[int], bool], npt.NDArray[np.float32]]
"""Reads the probe into an empty cache in chunks of these lengths, each filled up or not; gives the last logits."""


def find_needs(read: Read) -> Needs:
    """What this model needs for the same bits again, by reading the same tokens in different chunks."""
    cuts: list[list[int]] = [[N_PROBE], [N_PROBE - 1, 1], [3, N_PROBE - 8, 5]]
    if _all_equal([read(cut, False) for cut in cuts]):
        return "nothing"
    return "fours" if _all_equal([read(cut, True) for cut in cuts]) else "impossible"


def _all_equal(rows: Sequence[npt.NDArray[np.float32]]) -> bool:
    return all(np.array_equal(rows[0], row) for row in rows[1:])


def note(needs: Needs, cache_type: str, *, always: bool) -> str:
    """For administrators: what holds for this model."""
    if needs == "unmeasured":
        return f"{cache_type} cache; reproducible: unmeasured"
    if needs == "impossible" or cache_type not in ONE_PATH:
        return f"{cache_type} cache; not reproducible"
    if needs == "nothing" or always:
        return f"{cache_type} cache; reproducible"
    return f"{cache_type} cache; reproducible with a seed"
