"""Whole states of prompts, for models whose state cannot be cut: what a recurrent layer has read cannot be unread, so a
state serves only prompts that begin with all of it. Owned by the engine thread; shared by nobody.
"""

from dataclasses import dataclass

from .budget import worth
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
    n_uses: int = 0
    floor: float = 0.0
    """What the last one was worth that had been given up when this was last of use."""

    @property
    def worth(self) -> float:
        """Of two states of one size, the one of more tokens saves more."""
        return worth(floor=self.floor, n_uses=self.n_uses, n_tokens=len(self.tokens), n_bytes=len(self.state))


class Snapshots:
    """Within a budget of bytes: those worth least go first (`budget.worth`), of equals the oldest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: list[Snapshot] = []
        self._clock = 0
        self._floor = 0.0
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
        snapshot.n_uses += 1
        snapshot.floor = self._floor

    def put(self, key: str, tokens: Tokens, state: State) -> None:
        """Keep the state after `tokens`, if there is room for it at all."""
        known = self.longest(key, tokens)
        if known is not None and len(known.tokens) == len(tokens):
            self.touch(known)
            return
        if len(state) > self._max_bytes:
            return
        self._make_room(len(state))
        snapshot = Snapshot(key, tokens.copy(), state)
        self.touch(snapshot)
        self._kept.append(snapshot)
        self.n_bytes += len(state)

    def remove(self, snapshot: Snapshot) -> None:
        self._kept.remove(snapshot)
        self.n_bytes -= len(snapshot.state)

    def _make_room(self, n_bytes: int) -> None:
        while self.n_bytes + n_bytes > self._max_bytes:
            least = min(self._kept, key=lambda one: (one.worth, one.used_at))
            self._floor = max(self._floor, least.worth)
            self.remove(least)

    def _of(self, key: str) -> list[Snapshot]:
        return [one for one in self._kept if one.key == key]
