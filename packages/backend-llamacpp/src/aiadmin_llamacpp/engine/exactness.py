"""The same request gives the same bits, whatever else is decoded beside it, cached before it or cut differently.

Three things would make a row of logits depend on company:

- Attention. ggml has three ways to compute it, chosen by the number of rows and cells, which round differently; but
  only where keys and values are both F16 or both F32 (`cache_type.CacheType.has_one_path`).
- Matrices. Some quantised types are multiplied several rows at a time, or otherwise once there are enough of them, and
  the rows left over by other code: a row's bits depend on how many there are. Steps filled up to a multiple of some
  number of rows have no rows left over.
- The order of a sequence's cells, which attention sums in: `cells.OrderedCells` keeps it that of the positions.

Filling up costs little where a prompt is read, and much where a lone sequence is decoded. So a request without a seed
has it for its prompt only, if it is greedy: it gives the same again as long as nobody else runs (`scheduler.Care`).

What a model needs on this processor is found by trying, once, when it is opened.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Block = int | None
"""What it takes for the same bits again: steps of a multiple of so many rows. 1 is nothing beyond the cache's type, 0
that it cannot be had, None that nobody has tried (a GPU)."""

PROBES: dict[int, tuple[int, ...]] = {
    1: (1, 2, 3, 5, 6, 7, 8),
    4: (4, 12, 4, 8, 4),
    8: (8, 16, 8),
    16: (16, 16),
}
"""For each block, by size: in what chunks the probe is read, to be compared with reading it at once."""

N_PROBE = 32
"""Tokens that are read again and again to find out. Not every row shows a difference: one in five, where Gemma 3 has
4 instead of 8."""


class Filler(NamedTuple):
    """Rows to decode for nobody."""

    n: int = 0
    n_outputs: int = 0
    """How many of them have their logits computed."""


def filler(n_rows: int, n_outputs: int, block: int) -> Filler:
    """What fills a step up, so that neither its rows nor those with logits leave a rest beyond a multiple of `block`.
    (The last layer is computed for the latter only.)"""
    n_outputs = -n_outputs % block
    n = n_outputs + -(n_rows + n_outputs) % block
    return Filler(n, n_outputs)


def most_rows(n_batch: int, block: int) -> int:
    """How many rows of a step can be somebody's, if there is to be room for any filler."""
    return n_batch - 2 * (block - 1)


Read = Callable[[Sequence[int]], npt.NDArray[np.float32]]
"""Reads the probe into an empty cache in chunks of these lengths; gives the logits of all its rows."""


def find_block(read: Read) -> Block:
    """What this model needs for the same bits again, by reading the same tokens in different chunks."""
    at_once = read([N_PROBE])
    return next((block for block, chunks in PROBES.items() if np.array_equal(read(chunks), at_once)), 0)


def note(block: Block, cache_type: str, *, always: bool) -> str:
    """For administrators: what holds for this model."""
    if block is None:
        return f"{cache_type} cache; reproducible: unmeasured"
    if block == 0:
        return f"{cache_type} cache; not reproducible"
    if block == 1 or always:
        return f"{cache_type} cache; reproducible"
    return f"{cache_type} cache; reproducible with a seed"
