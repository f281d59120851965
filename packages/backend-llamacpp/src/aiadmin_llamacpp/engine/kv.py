"""The one owner of sequence ids and of the KV cache's token budget. Called by the scheduler, on the engine thread.

A `Slot` is a sequence id with the tokens whose keys and values it holds. A slot is either running, or cached: finished,
and kept until its cells are needed, so that a later prompt with the same beginning finds it. Slots share cells: a
prefix that several of them hold is counted, and stored, once.

Which physical cell a token got is llama.cpp's business. Here every position of a slot has a virtual cell, shared
exactly as llama.cpp shares the real ones, and a cell is free when no slot is left that holds it. So the numbers agree
without asking. (Sliding-window caches free cells earlier than that; the count is then on the safe side.)
"""

from enum import Enum
from typing import Literal, NamedTuple, Protocol

import numpy as np

from .tokens import TokenBuffer, Tokens, common_prefix

WORTH_WAITING = 32
"""How long a prefix that another sequence is prefilling just now has to be, to be waited for."""


class Memory(Protocol):
    """What `native.context.Context` does to its cache."""

    can_trim: bool
    n_swa: int

    def share(self, source: int, target: int, end: int) -> None: ...
    def trim(self, sequence: int, start: int) -> bool: ...
    def remove(self, sequence: int) -> None: ...
    def first_position(self, sequence: int) -> int: ...
    def clear(self) -> None: ...


class Slot:
    """A sequence id and what it holds: `n` cells, for the first `n` of `tokens`."""

    __slots__ = ("cells", "id", "n", "running", "salt", "tokens", "used_at", "wanted")

    def __init__(self, id: int, tokens: TokenBuffer, salt: str) -> None:
        self.id = id
        self.tokens = tokens
        """The sequence's own buffer while it runs: it may be longer than `n`."""
        self.salt = salt
        self.n = 0
        self.cells: Tokens = np.empty(tokens.n + 64, np.int32)
        """Virtual cells; the first `n` are meant."""
        self.running = True
        self.wanted = 0
        """Cells it was admitted for, those of choices not yet forked from it included: what is missing to `n` is
        spoken for."""
        self.used_at = 0


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

    Invariants: an id belongs to one slot or is free; a cell is free or held; `n_pinned` counts the cells that running
    slots hold, and only the others can be freed by evicting.
    """

    def __init__(self, memory: Memory, *, n_cells: int, n_sequences: int) -> None:
        self.n_cells = n_cells
        self._memory = memory
        self._n_sequences = n_sequences
        self._clock = 0
        self._reset()

    def _reset(self) -> None:
        self.slots: dict[int, Slot] = {}
        self._free_ids = list(range(self._n_sequences - 1, -1, -1))
        self._free_cells = np.arange(self.n_cells, dtype=np.int32)
        self.n_free = self.n_cells
        self._holders = np.zeros(self.n_cells, np.int32)  # slots that hold the cell
        self._pins = np.zeros(self.n_cells, np.int32)  # running ones among them
        self.n_pinned = 0

    @property
    def n_used(self) -> int:
        """Cells in use, cached prefixes included."""
        return self.n_cells - self.n_free

    @property
    def n_obtainable(self) -> int:
        """Cells that are free, or would be after evicting every cached slot."""
        return self.n_cells - self.n_pinned

    # Admission.

    def match(self, tokens: TokenBuffer, salt: str) -> Match:
        """The longest usable beginning of `tokens`, never all of it: one token has to be decoded for its logits."""
        limit = tokens.n - 1
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

    def admit(self, tokens: TokenBuffer, salt: str, *, room: int) -> Slot | Literal[Wait.ROOM, Wait.PREFIX]:
        """A running slot for a sequence that will prefill `tokens` and wants `room` cells for its answers. It already
        holds the cached beginning (`n`)."""
        match = self.match(tokens, salt)
        if match.pending > match.n and match.pending >= WORTH_WAITING:
            return Wait.PREFIX
        newly_pinned = int(np.count_nonzero(self._pins[match.slot.cells[: match.n]] == 0)) if match.slot else 0
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
        if n < slot.n and self._memory.trim(slot.id, n):
            self._drop_cells(slot, n)
        elif n < slot.n:  # the model said it could trim; start from nothing
            self._memory.remove(slot.id)
            self._drop_cells(slot, 0)
        slot.tokens = tokens
        slot.running = True
        self._pin(slot.cells[: slot.n])
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
        self._holders[cells] += 1
        self._pin(cells)

    # While it runs.

    def make_room(self, n: int) -> bool:
        """Evict cached slots, least recently used first, until `n` cells are free. False if that is not enough."""
        if n > self.n_obtainable:
            return False
        while self.n_free < n:
            self._evict()
        return True

    def evict_all(self) -> bool:
        """Drop every cached slot; False if there was none."""
        found = self._evict()
        while self._evict():
            pass
        return found

    def extend(self, slot: Slot, n: int) -> None:
        """`n` more tokens of `slot` were decoded; `make_room` has been asked for them."""
        assert slot.running
        assert n <= self.n_free
        self.n_free -= n
        cells = self._free_cells[self.n_free : self.n_free + n]
        slot.cells = _with_room(slot.cells, slot.n + n)
        slot.cells[slot.n : slot.n + n] = cells
        slot.n += n
        self._holders[cells] = 1
        self._pins[cells] = 1
        self.n_pinned += n

    def release(self, slot: Slot) -> None:
        """The sequence is done, or has to wait: keep what it holds as a cached prefix."""
        slot.running = False
        slot.wanted = 0
        self._unpin(slot.cells[: slot.n])
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

    # Cells.

    def _evict(self) -> bool:
        cached = [slot for slot in self.slots.values() if not slot.running]
        if not cached:
            return False
        self._drop(min(cached, key=lambda slot: slot.used_at))
        return True

    def _drop(self, slot: Slot) -> None:
        self._memory.remove(slot.id)
        self._drop_cells(slot, 0)
        del self.slots[slot.id]
        self._free_ids.append(slot.id)

    def _drop_cells(self, slot: Slot, n: int) -> None:
        """Let go of a cached slot's cells from its `n`-th on."""
        cells = slot.cells[n : slot.n]
        self._holders[cells] -= 1
        freed = cells[self._holders[cells] == 0]
        self._free_cells[self.n_free : self.n_free + len(freed)] = freed
        self.n_free += len(freed)
        slot.n = n

    def _pin(self, cells: Tokens) -> None:
        self._pins[cells] += 1
        self.n_pinned += int(np.count_nonzero(self._pins[cells] == 1))

    def _unpin(self, cells: Tokens) -> None:
        self._pins[cells] -= 1
        self.n_pinned -= int(np.count_nonzero(self._pins[cells] == 0))

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.used_at = self._clock


def _with_room(cells: Tokens, n: int) -> Tokens:
    if n <= len(cells):
        return cells
    return np.concatenate([cells, np.empty(max(n - len(cells), len(cells), 64), np.int32)])
