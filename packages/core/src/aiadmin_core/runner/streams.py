"""One request's events between the task that receives them and the one that gives them to a client."""

import asyncio
from collections import deque

from msgspec.structs import force_setattr

from ..specs.events import Event, Failed, ReasoningDelta, TextDelta, ToolCallDelta

COALESCE_AFTER = 64
"""Events waiting for a slow reader, from which on a delta is joined to the last one of its choice."""
Delta = TextDelta | ReasoningDelta | ToolCallDelta
DELTA_CHARS = 16 * 1024
"""A joined delta grows to about this, so that joining stays cheap."""


class EventStream:
    """A queue with an end. What a slow reader makes wait is its text, not an event for each token of it."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._last: dict[int, Delta] = {}
        """Each choice's last event, where it still waits and can be added to."""
        self._changed = asyncio.Event()
        self.ended = False
        """Nothing is put any more."""

    def put(self, event: Event) -> None:
        """Add an event, which the stream owns from now on."""
        if isinstance(event, Delta):
            last = self._last.get(event.choice)
            if last is not None and len(self._events) >= COALESCE_AFTER and _joinable(last, event):
                _join(last, event)
                return
            self._last[event.choice] = event
        else:
            self._last.pop(getattr(event, "choice", None) or 0, None)
        self._events.append(event)
        self._changed.set()

    def end(self, failure: Failed | None = None) -> None:
        """Nothing follows, but for `failure` where the stream did not come to its own end."""
        if failure is not None and not self.ended:
            self._events.append(failure)
        self.ended = True
        self._changed.set()

    async def get(self) -> Event | None:
        """The next event, None at the end."""
        while not self._events:
            if self.ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        event = self._events.popleft()
        if isinstance(event, Delta) and self._last.get(event.choice) is event:
            del self._last[event.choice]
        return event

    def __len__(self) -> int:
        return len(self._events)


def _joinable(last: Delta, event: Delta) -> bool:
    if isinstance(last, ToolCallDelta):
        same_call = isinstance(event, ToolCallDelta) and event.index == last.index and event.id is event.name is None
        return same_call and len(last.arguments) < DELTA_CHARS
    return type(last) is type(event) and len(last.text) < DELTA_CHARS


def _join(last: Delta, event: Delta) -> None:
    """Add `event` to `last` in place: nobody but the queue has seen it."""
    if isinstance(last, ToolCallDelta) and isinstance(event, ToolCallDelta):
        force_setattr(last, "arguments", last.arguments + event.arguments)
    elif not isinstance(last, ToolCallDelta) and not isinstance(event, ToolCallDelta):
        force_setattr(last, "text", last.text + event.text)
        if event.logprobs:
            force_setattr(last, "logprobs", last.logprobs + event.logprobs)
