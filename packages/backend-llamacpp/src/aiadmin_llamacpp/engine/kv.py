"""The one owner of sequence ids and of the KV cache's token budget. Called by the scheduler, on the engine thread.

A `Slot` is a sequence id with the tokens whose keys and values it holds. A slot is either running, or cached: finished,
and kept until its cells are needed, so that a later prompt with the same beginning finds it. Slots share cells: a
prefix that several of them hold is counted, and stored, once.
The cells themselves are counted in `cells`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Literal, NamedTuple, Protocol

import numpy as np

from aiadmin_core.cache.parking import Parcel
from aiadmin_core.cache.prefix_tree import Part, common_prefix

from .cells import CellMemory, Cells, OrderedCells
from .tokens import TokenBuffer, Tokens

WORTH_WAITING = 32
"""How long a prefix that another sequence is prefilling just now has to be, to be waited for."""


class Memory(CellMemory, Protocol):
    """What `native.context.Context` does to its cache."""

    def share(self, source: int, target: int, end: int) -> None: ...
    def first_position(self, sequence: int) -> int: ...
    def clear(self) -> None: ...


class Slot:
    """A sequence id and what it holds: `n` cells, for the first `n` of `tokens`."""

    __slots__ = (
        "arriving",
        "cells",
        "checkpoints",
        "id",
        "n",
        "parked",
        "running",
        "salt",
        "tokens",
        "used_at",
        "wanted",
    )

    def __init__(self, id: int, tokens: TokenBuffer, salt: str) -> None:
        self.id = id
        self.tokens = tokens
        """The sequence's own buffer while it runs: it may be longer than `n`."""
        self.salt = salt
        self.n = 0
        self.cells: Tokens = np.empty(tokens.n + 64, np.int32)
        """Where its tokens lie, see `cells`; the first `n` are meant."""
        self.running = True
        self.wanted = 0
        """Cells it was admitted for, those of choices not yet forked from it included: what is missing to `n` is
        spoken for."""
        self.used_at = 0
        self.arriving: list[Part[Parcel]] = []
        """What is to be brought back before the rest is decoded, see `parked`."""
        self.checkpoints: list[int] = []
        """Positions where its state is to be saved on the way, ascending, see `checkpoints`."""
        self.parked = False
        """Whether all it holds has been copied out of the context, or cannot be."""

    @property
    def n_soon(self) -> int:
        """How many tokens it will hold without decoding any: with what is arriving."""
        return max([self.n, *(part.node.start + part.n for part in self.arriving[-1:])])


class Wait(Enum):
    """Why a sequence is not admitted now."""

    ROOM = 1
    """Cells, or sequence ids, are short."""
    PREFIX = 2
    """Somebody is prefilling the same beginning."""


class Match(NamedTuple):
    """The best beginning of a prompt that is in the cache."""

    slot: Slot | None = None
    n: int = 0
    pending: int = 0
    """How long the match will be once a running sequence has prefilled its own prompt."""


class KvCache:
    """Sequence ids and cells.

    Invariants: an id belongs to one slot or is free; of the cells in use, only those that no running slot holds can be
    freed by evicting.
    """

    def __init__(self, memory: Memory, *, n_cells: int, n_sequences: int, keeps_order: bool = True) -> None:
        """`keeps_order`: answers are to be the same again, see `cells`."""
        self.n_cells = n_cells
        self.cells: Cells = OrderedCells(memory, n_cells) if keeps_order else Cells(memory, n_cells)
        self._memory = memory
        self._n_sequences = n_sequences
        self._clock = 0
        self.before_drop: Callable[[Slot], None] = lambda _slot: None
        """Called with a cached slot that has to make room."""
        self._reset()

    def _reset(self) -> None:
        self.slots: dict[int, Slot] = {}
        self._free_ids = list(range(self._n_sequences - 1, -1, -1))
        self.cells.reset()

    @property
    def keeps_order(self) -> bool:
        """Whether no hole is filled."""
        return self.cells.keeps_order

    @property
    def n_used(self) -> int:
        """Cells in use, cached prefixes included."""
        return self.cells.n_used

    @property
    def n_obtainable(self) -> int:
        """Cells that are free, or would be after evicting every cached slot."""
        return self.n_cells - self.cells.n_pinned

    # Admission.

    def match(self, tokens: TokenBuffer, salt: str, *, most: int | None = None) -> Match:
        """The longest usable beginning of `tokens`, no more than `most` of it, and never all: one token has to be
        decoded for its logits."""
        limit = tokens.n - 1 if most is None else most
        found: list[tuple[int, int, Slot]] = []
        pending = 0
        for slot in self.slots.values():
            if slot.salt != salt:
                continue
            n = common_prefix(tokens.view(0, limit), slot.tokens.view())
            if slot.running and slot.n < n:
                pending = max(pending, n)
            found.append((min(n, slot.n), slot.used_at, slot))
        for n, _, slot in sorted(found, key=lambda item: item[:2], reverse=True):
            if n and self._usable(slot, n):
                return Match(slot, n, max(pending, n) if self._memory.can_trim else n)
        return Match(None, 0, pending if self._memory.can_trim else 0)

    def _usable(self, slot: Slot, n: int) -> bool:
        if n < slot.n and not self._memory.can_trim:
            return False
        if self._memory.n_swa == 0:
            return True
        return self._memory.first_position(slot.id) <= max(0, n - self._memory.n_swa)

    def admit(
        self, tokens: TokenBuffer, salt: str, *, room: int, most: int | None = None
    ) -> Slot | Literal[Wait.ROOM, Wait.PREFIX]:
        """A running slot for a sequence that will prefill `tokens` and wants `room` cells for its answers. It already
        holds the cached beginning (`n`), which is no longer than `most`."""
        match = self.match(tokens, salt, most=most)
        if match.pending > match.n and match.pending >= WORTH_WAITING:
            return Wait.PREFIX
        newly_pinned = self.cells.n_unpinned(match.slot.cells[: match.n]) if match.slot else 0
        spoken_for = sum(max(0, slot.wanted - slot.n) for slot in self.slots.values() if slot.running)
        needed = newly_pinned + tokens.n - match.n + room
        alone = not any(slot.running for slot in self.slots.values())
        if needed > self.n_obtainable - spoken_for and not alone:
            return Wait.ROOM
        slot = self._start(match, tokens, salt)
        if slot is None:
            return Wait.ROOM
        slot.wanted = tokens.n + room
        return slot

    def _start(self, match: Match, tokens: TokenBuffer, salt: str) -> Slot | None:
        source = match.slot
        if source is not None:
            self._touch(source)
            whole = source.n == match.n
            if not source.running and (whole or not self._can_spare_id(source)):
                return self._continue(source, match.n, tokens)
        slot = self._new(tokens, salt)
        if slot is not None and source is not None:
            self._share(source, slot, match.n)
        return slot

    def _can_spare_id(self, source: Slot) -> bool:
        return bool(self._free_ids) or any(not slot.running for slot in self.slots.values() if slot is not source)

    def _continue(self, slot: Slot, n: int, tokens: TokenBuffer) -> Slot:
        """Turn a cached slot into a running one, cut to its first `n` tokens."""
        self._cut(slot, n)
        slot.tokens = tokens
        slot.running = True
        slot.parked = False
        self.cells.pin(slot.cells[: slot.n])
        return slot

    def fork(self, source: Slot, tokens: TokenBuffer, *, room: int = 0) -> Slot | None:
        """Another running slot with everything `source` holds, which takes over `room` of the cells that were reserved
        for it; None if there is no sequence id left."""
        slot = self._new(tokens, source.salt)
        if slot is not None:
            self._share(source, slot, source.n)
            slot.wanted = slot.n + room
            source.wanted -= room
        return slot

    def _new(self, tokens: TokenBuffer, salt: str) -> Slot | None:
        if not self._free_ids and not self._evict():
            return None
        slot = Slot(self._free_ids.pop(), tokens, salt)
        self.slots[slot.id] = slot
        self._touch(slot)
        return slot

    def _share(self, source: Slot, target: Slot, n: int) -> None:
        if n == 0:
            return
        self._memory.share(source.id, target.id, n)
        cells = source.cells[:n]
        target.cells = _with_room(target.cells, n)
        target.cells[:n] = cells
        target.n = n
        self.cells.share(cells)

    # While it runs.

    def make_room(self, n: int) -> bool:
        """Evict cached slots, least recently used first, and close holes, until `n` cells are free. False if that is
        not enough."""
        if n > self.n_obtainable:
            return False
        while self.n_cells - self.n_used < n:
            self._evict()
        self.cells.make_room(n, self.slots.values())
        return True

    def stepped(self, n_rows: int) -> None:
        """A step of `n_rows` was decoded."""
        self.cells.stepped(n_rows)

    def evict_all(self) -> bool:
        """Drop every cached slot; False if there was none."""
        found = self._evict()
        while self._evict():
            pass
        return found

    def extend(self, slot: Slot, n: int) -> None:
        """`n` more tokens of `slot` were decoded; `make_room` has been asked for them."""
        assert slot.running
        slot.cells = _with_room(slot.cells, slot.n + n)
        slot.cells[slot.n : slot.n + n] = self.cells.take(n)
        slot.n += n

    def retract(self, slot: Slot, n: int) -> None:
        """The last `n` tokens of a running slot were guesses, and wrong."""
        self.cells.unpin(slot.cells[slot.n - n : slot.n])
        self._cut(slot, slot.n - n)

    def empty(self, slot: Slot) -> None:
        """A running slot gives up all it holds."""
        if slot.n:
            self.retract(slot, slot.n)

    def agreeing(self, slot: Slot, most: int) -> int:
        """How many of the first `most` tokens of `slot` another one begins with."""
        tokens = slot.tokens.view(0, most)
        others = (other for other in self.slots.values() if other is not slot and other.salt == slot.salt)
        return max((common_prefix(other.tokens.view(), tokens) for other in others), default=0)

    def take_in(self, slot: Slot, first: int, last: int) -> None:
        """`last` tokens were put into the cache, and those from `first` on are the next ones of `slot`; the others are
        nobody's. `make_room` has been asked for them."""
        self.cells.pass_over(first)
        self.extend(slot, last - first)

    def release(self, slot: Slot) -> None:
        """The sequence is done, or has to wait: keep what it holds as a cached prefix."""
        slot.running = False
        slot.wanted = 0
        slot.arriving.clear()
        slot.checkpoints.clear()
        self.cells.unpin(slot.cells[: slot.n])
        slot.tokens = TokenBuffer(slot.tokens.view(0, slot.n))
        self._touch(slot)
        if slot.n == 0 or self._is_covered(slot):
            self._drop(slot)

    def _is_covered(self, slot: Slot) -> bool:
        """Whether another slot holds the same tokens and more, and can be trimmed to them."""
        if not self._memory.can_trim or self._memory.n_swa:
            return False
        return any(
            other is not slot
            and other.salt == slot.salt
            and other.n >= slot.n
            and common_prefix(other.tokens.view(0, slot.n), slot.tokens.view()) == slot.n
            for other in self.slots.values()
        )

    def clear(self) -> None:
        """Forget everything, after a failed step. No slot is valid any more."""
        self._memory.clear()
        self._reset()

    def idle(self) -> list[Slot]:
        """Cached slots, least recently used first."""
        return sorted((slot for slot in self.slots.values() if not slot.running), key=lambda slot: slot.used_at)

    def drop(self, slot: Slot) -> None:
        """Forget a cached slot."""
        assert not slot.running
        self._drop(slot)

    def _evict(self) -> bool:
        cached = self.idle()
        if not cached:
            return False
        self.before_drop(cached[0])
        self._drop(cached[0])
        return True

    def _drop(self, slot: Slot) -> None:
        self._cut(slot, 0)
        del self.slots[slot.id]
        self._free_ids.append(slot.id)
        if not self.slots:
            self.clear()

    def _cut(self, slot: Slot, n: int) -> None:
        """Let go of a slot's cells from its `n`-th on, which it does not pin."""
        cells = slot.cells[n : slot.n]
        if len(cells):
            slot.n = n
            self.cells.give_up(slot.id, n, cells)

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.used_at = self._clock


def _with_room(cells: Tokens, n: int) -> Tokens:
    if n <= len(cells):
        return cells
    return np.concatenate([cells, np.empty(max(n - len(cells), len(cells), 64), np.int32)])
