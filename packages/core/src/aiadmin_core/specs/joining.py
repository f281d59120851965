"""Which neighbouring deltas are one, and making one of them. Used wherever events wait or are put together. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from .events import Event, ReasoningDelta, TextDelta, ToolCallDelta

MAX_CHARS = 16 * 1024
"""A joined delta grows to about this: then joining again what has been joined stays cheap."""

Delta = TextDelta | ReasoningDelta | ToolCallDelta


@dataclass(slots=True)
class _Run:
    """Events that become one. More than one are deltas of one kind."""

    events: list[Event]
    n_chars: int


def joined(events: Sequence[Event]) -> Sequence[Event]:
    """`events` of one or more requests, neighbouring deltas of a choice made one where they are of one kind (and one
    tool call). Each choice keeps its order, and nothing moves before what had come when its first part came."""
    if len(events) < 2:
        return events
    runs: list[_Run] = []
    last: dict[tuple[int, int], _Run] = {}
    for event in events:
        if not isinstance(event, Delta):
            last.clear()
            runs.append(_Run([event], 0))
            continue
        n_chars = len(event.arguments if isinstance(event, ToolCallDelta) else event.text)
        lane = (event.request_id, event.choice)
        run = last.get(lane)
        if run is not None and run.n_chars < MAX_CHARS and _continues(run.events[0], event):
            run.events.append(event)
            run.n_chars += n_chars
        else:
            last[lane] = run = _Run([event], n_chars)
            runs.append(run)
    return [_one(run.events) for run in runs]


def _continues(first: Event, event: Delta) -> bool:
    if isinstance(event, ToolCallDelta):
        same_call = isinstance(first, ToolCallDelta) and first.index == event.index
        return same_call and event.id is event.name is None
    return type(first) is type(event)


def _one(run: Sequence[Event]) -> Event:
    first = run[0]
    if len(run) == 1:
        return first
    logprobs = tuple(item for event in run if isinstance(event, Delta) for item in event.logprobs)
    if isinstance(first, ToolCallDelta):
        return replace(first, arguments="".join(_arguments(run)), logprobs=logprobs)
    return replace(first, text="".join(_texts(run)), logprobs=logprobs)


def _texts(run: Iterable[Event]) -> list[str]:
    return [event.text for event in run if isinstance(event, TextDelta | ReasoningDelta)]


def _arguments(run: Iterable[Event]) -> list[str]:
    return [event.arguments for event in run if isinstance(event, ToolCallDelta)]
