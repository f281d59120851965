"""States of prompts saved at places where others may begin alike, for models that cannot give up the end of a sequence
(recurrent and hybrid ones). Called by the scheduler, on the engine thread, in the place of `parked.ParkedPrefixes`.

A prompt is read up to such a place first, and its state copied there: where it parts from a prompt that is known (a
system message that many begin with), and before its last token, which is always read, for its logits (the same prompt
again; the next turn of its conversation).
"""

from typing import Protocol

from aiadmin_core.cache.parking import State
from aiadmin_core.cache.snapshots import Snapshots

from .kv import KvCache, Slot
from .tokens import Tokens

WORTH_SAVING = 32
"""Tokens from which on a state is worth its copy."""


class Memory(Protocol):
    """What `native.context.Context` does for it."""

    def save_whole(self, sequence: int) -> State: ...
    def load_whole(self, state: State, target: int) -> bool: ...


class Checkpoints:
    """Copies states between the slots of `kv` and `snapshots`."""

    def __init__(self, kv: KvCache, memory: Memory, snapshots: Snapshots) -> None:
        self._kv = kv
        self._memory = memory
        self._snapshots = snapshots
        kv.before_drop = self._keep

    def expect(self, slot: Slot, *, tokens_per_s: float) -> None:  # noqa: ARG002 - a state is always read faster
        """Bring back the longest state that the prompt of a running slot begins with, and note where to save others."""
        most = slot.tokens.n - 1
        tokens = slot.tokens.view(0, most)
        found = self._snapshots.longest(slot.salt, tokens)
        if found is not None and len(found.tokens) > slot.n and self._load(slot, found.state, len(found.tokens)):
            self._snapshots.touch(found)
        alike = max(self._snapshots.agreeing(slot.salt, tokens), self._kv.agreeing(slot, most))
        slot.checkpoints = sorted({place for place in (alike, most) if place >= max(WORTH_SAVING, slot.n + 1)})

    def _load(self, slot: Slot, state: State, n: int) -> bool:
        self._kv.empty(slot)
        if not self._kv.make_room(n) or not self._memory.load_whole(state, slot.id):
            return False
        self._kv.take_in(slot, 0, n)
        return True

    def reached(self, slot: Slot) -> None:
        """The slot has read up to a place where its state is to be saved."""
        del slot.checkpoints[0]
        self._keep(slot)

    def n_known(self, key: str, tokens: Tokens) -> int:
        found = self._snapshots.longest(key, tokens)
        return len(found.tokens) if found is not None else 0

    def fetch(self, slot: Slot) -> bool:  # noqa: ARG002 - nothing is left to come
        return True

    def tend(self, *, busy: bool) -> None:
        """What is cached stays: a state takes no cells that others' attention passes over."""

    def rest(self) -> None:
        """Nothing to do: states are saved as they are reached."""

    def close(self, *, within_s: float) -> None:
        """States are kept as long as the process lives, and no longer."""

    def _keep(self, slot: Slot) -> None:
        if slot.n >= WORTH_SAVING:
            self._snapshots.put(slot.salt, slot.tokens.view(0, slot.n), self._memory.save_whole(slot.id))
