"""What the scheduler asks of whoever keeps the beginnings of prompts outside the context: `parked` does it in pieces,
`checkpoints` as a whole."""

from typing import Protocol

from .kv import Slot
from .tokens import Tokens


class Prefixes(Protocol):
    """Called between steps, on the engine thread."""

    def expect(self, slot: Slot, *, tokens_per_s: float) -> None:
        """A prompt was admitted: see what is kept of it beyond what its slot holds."""

    def n_known(self, key: str, tokens: Tokens) -> int:
        """How much of the beginning of `tokens` is kept under `key`."""

    def fetch(self, slot: Slot) -> bool:
        """Bring back more of what was expected, as far as time allows. False if there is more to come."""

    def reached(self, slot: Slot) -> None:
        """The slot has been read up to the first of its `checkpoints`."""

    def tend(self, *, busy: bool) -> None:
        """Copy some of what is cached; where somebody runs (`busy`), what costs them leaves."""

    def rest(self) -> None:
        """Nobody runs."""

    def close(self, *, within_s: float) -> None:
        """Keep what can outlive the context, for as long as that."""
