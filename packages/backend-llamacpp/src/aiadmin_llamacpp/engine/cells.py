"""Books of llama.cpp's cells: how many slots hold each, and how many running ones. Called by `kv`.

llama.cpp puts tokens into the first free cells from where it last stopped, and attention sums a sequence's cells in the
order they lie in. So the last bits of an answer would depend on the holes that others left. Where answers are to be the
same again, no hole is ever filled (`OrderedCells`): what is given up beside cells still in use is held by a sequence id
of its own, and new tokens always go on top. Holes cost every step a little, since attention passes over them; once that
has cost as much as closing them all, or the top is reached, the cache is written out and read back without them. So the
cells of a sequence lie in the order of its positions, whatever others do, and the numbers are llama.cpp's own.

Where they cannot be the same again anyway, as on a graphics processor, llama.cpp fills its holes (`Cells`). There,
closing them would cost a copy for each run of neighbouring cells in each layer: 290 ms on an H100, where a step of
sixteen sequences takes four.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from .tokens import Tokens

COPY_PRICE, CLEAR_PRICE = 64, 2
"""What closing all holes costs for a cell in use, and for any cell of the cache, in cells that a row's attention passes
over. (SmolLM2: 0.23 microseconds, against 12 to 21 to copy a cell out and in, and less than one to clear it.)"""


class CellMemory(Protocol):
    """What `native.context.Context` does to its cache."""

    can_trim: bool
    n_swa: int

    def trim(self, sequence: int, start: int) -> bool: ...
    def hold(self, sequence: int, start: int) -> None: ...
    def compact(self, sequences: Iterable[int]) -> None: ...
    def remove(self, sequence: int) -> None: ...


class Holding(Protocol):
    """A `kv.Slot`, as far as it is about cells."""

    id: int
    n: int
    cells: Tokens


class Cells:
    """In whatever order llama.cpp takes them: the numbers count cells, and are not its own."""

    keeps_order = False

    def __init__(self, memory: CellMemory, n: int) -> None:
        self.n = n
        self._memory = memory
        self.reset()

    def reset(self) -> None:
        """Nothing is held any more."""
        self._holders = np.zeros(self.n, np.int32)
        self._pins = np.zeros(self.n, np.int32)
        self._free = np.arange(self.n - 1, -1, -1, dtype=np.int32)  # the first `n - n_used`, in any order
        self.n_used = 0
        """Cells in use, cached prefixes included."""
        self.n_pinned = 0
        """Those that running slots hold."""

    def make_room(self, n: int, slots: Iterable[Holding]) -> None:
        """`n` cells are free: see that they can be taken."""

    def take(self, n: int) -> Tokens:
        """Cells for `n` tokens of a running slot that were put into the cache, after `make_room`."""
        left = self.n - self.n_used - n
        cells = self._free[left : left + n].copy()
        self._count(cells, n)
        return cells

    def pass_over(self, n: int) -> None:
        """`n` cells were filled below what is taken next, for nobody."""

    def share(self, cells: Tokens) -> None:
        """Another running slot holds them."""
        self._holders[cells] += 1
        self.pin(cells)

    def give_up(self, id: int, start: int, cells: Tokens) -> None:
        """Sequence `id` lets go of `cells`, its own from position `start` on, which it does not pin."""
        self._holders[cells] -= 1
        freed = cells[self._holders[cells] == 0]
        n_free = self.n - self.n_used
        self._free[n_free : n_free + len(freed)] = freed
        self.n_used -= len(freed)
        if self._memory.can_trim:
            self._cut(id, start, cells, freed)
        else:  # a recurrent state has no cells: it goes as a whole
            self._memory.remove(id)

    def pin(self, cells: Tokens) -> None:
        self._pins[cells] += 1
        self.n_pinned += int(np.count_nonzero(self._pins[cells] == 1))

    def unpin(self, cells: Tokens) -> None:
        self._pins[cells] -= 1
        self.n_pinned -= int(np.count_nonzero(self._pins[cells] == 0))

    def n_unpinned(self, cells: Tokens) -> int:
        """How many of them only cached slots hold."""
        return int(np.count_nonzero(self._pins[cells] == 0))

    def stepped(self, n_rows: int) -> None:
        """A step of `n_rows` was decoded."""

    def _count(self, cells: Tokens | slice, n: int) -> None:
        self.n_used += n
        self.n_pinned += n
        self._holders[cells] = 1
        self._pins[cells] = 1

    def _cut(self, id: int, start: int, _cells: Tokens, _freed: Tokens, /) -> None:
        self._memory.trim(id, start)


class OrderedCells(Cells):
    """In the order of positions. No cell at `top` or above is in use, and those of a slot ascend."""

    keeps_order = True

    def reset(self) -> None:
        super().reset()
        self.top = 0
        """The next token's cell."""
        self._held_to = 0  # no cell from here on is held for having been given up
        self._passed_over = 0  # holes that attention has passed over since there were none, summed over all rows

    def make_room(self, n: int, slots: Iterable[Holding]) -> None:
        """Closes all holes where the top is reached, or they have cost as much."""
        if self.top + n > self.n or self._passed_over > COPY_PRICE * self.n_used + CLEAR_PRICE * self.n:
            self._compact(slots)

    def take(self, n: int) -> Tokens:
        assert self.top + n <= self.n
        first, self.top = self.top, self.top + n
        self._count(slice(first, self.top), n)  # a slice: many sequences take one cell in each step
        return np.arange(first, self.top, dtype=np.int32)

    def pass_over(self, n: int) -> None:
        self.top += n
        self._held_to = max(self._held_to, self.top if n else 0)

    def stepped(self, n_rows: int) -> None:
        """Each row's attention has passed over the holes once more."""
        self._passed_over += n_rows * (self.top - self.n_used)

    def _cut(self, id: int, start: int, cells: Tokens, freed: Tokens, /) -> None:
        """What lay on top is free again, the rest becomes holes."""
        if len(freed) == 0 or (self._held_to <= freed[0] and not self._holders[freed[0] : self.top].any()):
            self._memory.trim(id, start)
            self.top = int(freed[0]) if len(freed) else self.top
        else:
            self._memory.hold(id, start)
            self._held_to = max(self._held_to, int(cells[-1]) + 1)

    def _compact(self, slots: Iterable[Holding]) -> None:
        """Close all holes; what is in use keeps its order."""
        slots = [*slots]
        used = self._holders > 0
        rank = (np.cumsum(used) - 1).astype(np.int32)
        for slot in slots:
            slot.cells[: slot.n] = rank[slot.cells[: slot.n]]
        self.top = self.n_used
        for counts in (self._holders, self._pins):
            counts[: self.top] = counts[used]
            counts[self.top :] = 0
        self._held_to = self.top if self._memory.n_swa else 0
        self._passed_over = 0
        if self._memory.can_trim:
            self._memory.compact([slot.id for slot in slots])
