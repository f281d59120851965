"""One request's events between the connection they arrive on and whoever gives them to a client."""

import asyncio
from collections.abc import Sequence

from ..specs.events import Event, Failed
from ..specs.joining import joined

JOIN_AT = 64
"""Events waiting for a slow reader, from which on deltas are joined before they are read."""


class EventStream:
    """A queue with an end, read a batch at a time. What a slow reader makes wait is its text, not an event for each
    token of it."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []
        self._join_at = JOIN_AT
        self._changed = asyncio.Event()
        self.ended = False
        """Nothing is put any more."""

    def put(self, event: Event) -> None:
        """Add an event."""
        self._waiting.append(event)
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

    async def get(self) -> Sequence[Event]:
        """Everything since the last call, joined; empty at the end."""
        while not self._waiting and not self.ended:
            self._changed.clear()
            await self._changed.wait()
        batch, self._waiting = self._waiting, []
        self._join_at = JOIN_AT
        return joined(batch)

    def __len__(self) -> int:
        return len(self._waiting)
