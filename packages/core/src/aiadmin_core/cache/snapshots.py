"""Whole states of prompts, for models whose state cannot be cut: what a recurrent layer has read cannot be unread, so a
state serves only prompts that begin with all of it. Owned by the engine thread; shared by nobody.
"""

from dataclasses import dataclass

from .parking import State
from .prefix_tree import Tokens, common_prefix


@dataclass(slots=True, eq=False)
class Snapshot:
    """The state after `tokens`."""

    key: str
    """What it depends on besides (`prefix_tree.PrefixTree`)."""
    tokens: Tokens
    state: State
    used_at: int = 0
    """Counts up."""


class Snapshots:
    """Within a budget of bytes: those that were of use longest ago go first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: list[Snapshot] = []
        self._clock = 0
        self.n_bytes = 0

    def longest(self, key: str, tokens: Tokens) -> Snapshot | None:
        """The one that most of `tokens` begin with."""
        fitting = (one for one in self._of(key) if common_prefix(one.tokens, tokens) == len(one.tokens))
        return max(fitting, key=lambda one: len(one.tokens), default=None)

    def agreeing(self, key: str, tokens: Tokens) -> int:
        """How many of `tokens` are the beginning of a known prompt, whether or not there is a state of just them."""
        return max((common_prefix(one.tokens, tokens) for one in self._of(key)), default=0)

    def touch(self, snapshot: Snapshot) -> None:
        """It was of use."""
        self._clock += 1
        snapshot.used_at = self._clock

    def put(self, key: str, tokens: Tokens, state: State) -> None:
        """Keep the state after `tokens`, if there is room for it at all."""
        known = self.longest(key, tokens)
        if known is not None and len(known.tokens) == len(tokens):
            self.touch(known)
            return
        if len(state) > self._max_bytes:
            return
        snapshot = Snapshot(key, tokens.copy(), state)
        self.touch(snapshot)
        self._kept.append(snapshot)
        self.n_bytes += len(state)
        while self.n_bytes > self._max_bytes:
            self.remove(min(self._kept, key=lambda one: one.used_at))

    def remove(self, snapshot: Snapshot) -> None:
        self._kept.remove(snapshot)
        self.n_bytes -= len(snapshot.state)

    def _of(self, key: str) -> list[Snapshot]:
        return [one for one in self._kept if one.key == key]
