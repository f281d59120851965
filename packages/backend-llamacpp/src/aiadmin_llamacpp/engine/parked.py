"""Cached prefixes on their way out of the context, and back. Called by the scheduler, on the engine thread.

Attention passes over every cell in use, whoever's it is: 7,000 idle ones make a step of SmolLM2 take 10.7 ms instead of
8.4. So while anybody runs, what is cached leaves the context, one run of tokens a step, and comes back when a prompt
begins like it. While nobody runs it stays, for the next turn, and its copy is made meanwhile.

On a graphics processor it is the other way round: idle cells cost next to nothing, and copying the scattered cells of
an answer takes longer than to compute them again. So what a copy costs is measured, and where it does not pay, what is
cached stays until its room is wanted.
"""

from time import perf_counter
from typing import Protocol

from aiadmin_core.cache.budget import worth_reading, worth_saving
from aiadmin_core.cache.parking import Parking, State

from .kv import KvCache, Slot
from .tokens import Tokens

RUN = 256
"""Tokens of a parcel: 3 MB of SmolLM2, 1.5 ms to take out and 0.3 to bring back; 17 MB of an 8B model with q8_0."""

WORTH_PARKING = 32
"""Tokens from which on a prefix is worth a copy, and from which on bringing one back is better than reading it anew."""

FETCH_S = 0.03
"""How long bringing back may hold up a step."""

FORGET = 0.999
"""What is known of the cost of a copy, each time that was a reason to make none: it is tried again some day."""

REST_S = 0.05
"""How long copying may keep a request waiting that comes when nothing else runs."""


class Memory(Protocol):
    """What `native.context.Context` does for it."""

    n_swa: int

    def save(self, sequence: int, start: int, end: int) -> State: ...
    def load(self, state: State, target: int, start: int, first: int, last: int, *, hold: bool) -> bool: ...
    def first_position(self, sequence: int) -> int: ...


class WorthSaving(Protocol):
    """`cache.budget.worth_saving`, or what tests make of it."""

    def __call__(self, *, save_s: float, tokens_per_s: float) -> bool: ...


def run_length(n_swa: int) -> int:
    """Tokens of a parcel. Of a sliding window, no more than it is wide: the rest would have been forgotten in it."""
    return min(RUN, n_swa) if n_swa else RUN


class ParkedPrefixes:
    """Moves runs of tokens between the slots of `kv` and `parking`."""

    def __init__(self, kv: KvCache, memory: Memory, parking: Parking, worth: WorthSaving = worth_saving) -> None:
        self._kv = kv
        self._memory = memory
        self._parking = parking
        self._worth = worth
        self._bytes_per_s = 0.0
        """Of files, measured."""
        self._save_s = 0.0
        """Of a token, measured, as the next."""
        self._load_s = 0.0
        self._tokens_per_s = 0.0
        """Of reading prompts, as last told."""
        kv.before_drop = self._park_if_worth

    def expect(self, slot: Slot, *, tokens_per_s: float) -> None:
        """Note what of a running slot's prompt is parked beyond what it holds, and faster to bring back than to read
        anew. The last token is always read, for its logits."""
        self._tokens_per_s = tokens_per_s
        parts = self._parking.match(slot.salt, slot.tokens.view(0, slot.tokens.n - 1))
        parts = [part for part in parts if part.node.start + part.n > slot.n]
        n_tokens = sum(part.n for part in parts)
        n_bytes = sum(part.node.value.n_bytes for part in parts if part.node.value.data is None)
        if not parts or parts[-1].node.start + parts[-1].n - slot.n < WORTH_PARKING:
            return
        if worth_reading(
            n_tokens=n_tokens,
            n_bytes=n_bytes,
            tokens_per_s=tokens_per_s,
            bytes_per_s=self._bytes_per_s,
            load_s=self._load_s,
        ):
            slot.arriving = parts
            self._parking.touch(parts)
        else:
            self._load_s *= FORGET

    def n_known(self, key: str, tokens: Tokens) -> int:
        parts = self._parking.match(key, tokens)
        return parts[-1].node.start + parts[-1].n if parts else 0

    def fetch(self, slot: Slot) -> bool:
        """Bring back what was expected, as far as time allows. False if there is more to come."""
        until = perf_counter() + FETCH_S
        while slot.arriving:
            if perf_counter() > until:
                return False
            part = slot.arriving.pop(0)
            start, first, last = part.node.start, slot.n, part.node.start + part.n
            if start > first or not self._kv.make_room(len(part.node.tokens)):
                break
            started, on_disk = perf_counter(), part.node.value.data is None
            state = self._parking.read(part)
            read = perf_counter()
            if state is None or not self._memory.load(state, slot.id, start, first, last, hold=self._kv.keeps_order):
                break
            if on_disk:
                self._bytes_per_s = _blended(self._bytes_per_s, len(state) / max(1e-6, read - started))
            self._load_s = _blended(self._load_s, (perf_counter() - read) / (last - start))
            self._kv.take_in(slot, first - start, last - start)
        slot.arriving.clear()  # what cannot be had is read anew
        return True

    def reached(self, slot: Slot) -> None:
        """Nothing is saved on the way: what is cached can be cut anywhere."""

    def tend(self, *, busy: bool) -> None:
        """Copy one run of what is cached, if that is worth it. Where it costs somebody (`busy`), what is copied leaves
        before: what lies on top first, so that it leaves no holes."""
        idle = self._kv.idle()
        leaving = [slot for slot in idle if busy and (slot.parked or slot.n < WORTH_PARKING)]
        for slot in sorted(leaving, key=lambda slot: slot.cells[slot.n - 1], reverse=True):
            self._kv.drop(slot)
        left = next((slot for slot in idle if not slot.parked and slot.n >= WORTH_PARKING), None)
        if left is not None and self._is_worth():
            self._park_one(left)

    def rest(self) -> None:
        """Nobody runs: copy some of what is cached, so that nobody has to wait for it later."""
        until = perf_counter() + REST_S
        for slot in self._kv.idle():
            while not slot.parked and slot.n >= WORTH_PARKING:
                if perf_counter() > until or not self._is_worth():
                    return
                self._park_one(slot)

    def close(self, *, within_s: float) -> None:
        """Copy everything, and write it to files, for as long as that."""
        until = perf_counter() + within_s
        for slot in self._kv.idle():
            if perf_counter() < until:
                self._park(slot)
        self._parking.close(within_s=within_s)

    def _is_worth(self) -> bool:
        worth = self._worth(save_s=self._save_s, tokens_per_s=self._tokens_per_s)
        if not worth:
            self._save_s *= FORGET
        return worth

    def _park_if_worth(self, slot: Slot) -> None:
        while not slot.parked and slot.n >= WORTH_PARKING and self._is_worth():
            self._park_one(slot)

    def _park(self, slot: Slot) -> None:
        while not slot.parked and slot.n >= WORTH_PARKING:
            self._park_one(slot)

    def _park_one(self, slot: Slot) -> None:
        tokens = slot.tokens.view(0, slot.n)
        start = self._parking.missing(slot.salt, tokens)
        if start == slot.n or (self._memory.n_swa and self._memory.first_position(slot.id) > start):
            slot.parked = True
            return
        end = min(slot.n, start + self._parking.run)
        started = perf_counter()
        state = self._memory.save(slot.id, start, end)
        self._save_s = _blended(self._save_s, (perf_counter() - started) / (end - start))
        slot.parked = not self._parking.put(slot.salt, tokens, start, state) or end == slot.n


def _blended(known: float, measured: float) -> float:
    return 0.5 * (known or measured) + 0.5 * measured
