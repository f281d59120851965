"""Events that wait for whoever reads them: those of one request, or of all that share a reader."""

import asyncio
from collections.abc import Sequence

from .specs.events import Event, Failed
from .specs.joining import joined

JOIN_AT = 64
"""Events waiting for a slow reader, from which on deltas are joined before they are read."""


class EventStream:
    """A queue with an end, read a batch at a time. What a slow reader makes wait is its text, not an event for each
    token of it: where many events wait, deltas are joined. Used on one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []
        self._join_at = JOIN_AT
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self.ended = False
        """Nothing is put any more."""

    def put(self, events: Sequence[Event]) -> None:
        """Add what came at once."""
        self._waiting += events
        if len(self._waiting) >= self._join_at:
            self._waiting = list(joined(self._waiting))
            self._join_at = max(JOIN_AT, 2 * len(self._waiting))
        self._changed.set()

    def end(self, failure: Failed | None = None) -> None:
        """Nothing follows, but for `failure` where the stream did not come to its own end."""
        if failure is not None and not self.ended:
            self._waiting.append(failure)
        self.ended = True
        self._changed.set()

    def take(self) -> Sequence[Event]:
        """What waits; may be nothing."""
        batch, self._waiting = self._waiting, []
        self._join_at = JOIN_AT
        self._taken.set()
        return batch

    async def taken(self) -> None:
        """Wait until what waits has been taken."""
        self._taken.clear()
        while self._waiting:
            await self._taken.wait()

    async def get(self) -> Sequence[Event]:
        """Wait for events, and take them; empty at the end."""
        while not self._waiting and not self.ended:
            self._changed.clear()
            await self._changed.wait()
        return self.take()

    def __len__(self) -> int:
        return len(self._waiting)
