"""Core's events to OpenAI's answers: pure, one object for each response. Used by `api.answer`."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Protocol

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aiadmin_core.specs import events as core

from . import replies

LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a probability of zero; JSON has no infinity."""


class Head(Struct, frozen=True, kw_only=True):
    """What every chunk of a response repeats."""

    id: str
    created: int
    """Unix time, seconds."""
    model: str
    """The name that was asked for."""
    system_fingerprint: str


class Format(Protocol):
    """How one endpoint writes what the engine gives."""

    def opening(self) -> Sequence[Struct]:
        """The chunks that come before any event."""

    def chunk(self, event: core.Event) -> Struct | None:
        """The chunk for one event, or None where nothing is written."""

    def closing(self) -> Sequence[Struct]:
        """The chunks that come after every event."""

    def whole(self, events: Iterable[core.Event]) -> Struct:
        """The answer in one piece."""


def fingerprint(*parts: str) -> str:
    """Names what an answer depends on besides the request: backend, weights, versions."""
    return "fp_" + sha256("\0".join(parts).encode()).hexdigest()[:10]


def coalesce(events: Iterable[core.Event]) -> list[core.Event]:
    """Join neighbouring deltas of one kind, choice by choice. The order within a choice is kept."""
    lanes: dict[int, list[list[core.Event]]] = {}  # of each choice: runs of events that become one
    for event in events:
        if isinstance(event, core.Started):
            continue
        runs = lanes.setdefault(event.choice or 0, [])
        if runs and _continues(runs[-1][0], event):
            runs[-1].append(event)
        else:
            runs.append([event])
    return [_joined(run) for runs in lanes.values() for run in runs]


def _continues(first: core.Event, event: core.Event) -> bool:
    match first, event:
        case (core.TextDelta(), core.TextDelta()) | (core.ReasoningDelta(), core.ReasoningDelta()):
            return True
        case core.ToolCallDelta(), core.ToolCallDelta():
            return first.index == event.index and event.id is None and event.name is None
    return False


def _joined(run: Sequence[core.Event]) -> core.Event:
    first = run[0]
    match first:
        case _ if len(run) == 1:
            return first
        case core.TextDelta() | core.ReasoningDelta():
            deltas = [event for event in run if isinstance(event, core.TextDelta | core.ReasoningDelta)]
            logprobs = tuple(item for event in deltas for item in event.logprobs)
            return replace(first, text="".join(event.text for event in deltas), logprobs=logprobs)
        case core.ToolCallDelta():
            calls = [event for event in run if isinstance(event, core.ToolCallDelta)]
            return replace(first, arguments="".join(event.arguments for event in calls))
    raise AssertionError(first)  # `_continues` joins nothing else


class UsageTally:
    """Adds up what the choices of all requests behind one response cost; each request's prompt counts once."""

    def __init__(self) -> None:
        self._requests: dict[int, list[core.Usage]] = {}

    def add(self, finished: core.Finished) -> None:
        self._requests.setdefault(finished.request_id, []).append(finished.usage)

    def total(self) -> replies.Usage:
        choices = [usage for request in self._requests.values() for usage in request]
        n_prompt = sum(max(usage.prompt_tokens for usage in request) for request in self._requests.values())
        n_completion = sum(usage.completion_tokens for usage in choices)
        cached = [_most_cached(request) for request in self._requests.values()]
        known = [count for count in cached if count is not None]
        return replies.Usage(
            prompt_tokens=n_prompt,
            completion_tokens=n_completion,
            total_tokens=n_prompt + n_completion,
            prompt_tokens_details=replies.PromptTokensDetails(cached_tokens=sum(known)) if known else UNSET,
            completion_tokens_details=replies.CompletionTokensDetails(
                reasoning_tokens=sum(usage.reasoning_tokens for usage in choices)
            ),
        )


def _most_cached(request: Sequence[core.Usage]) -> int | None:
    return max((usage.cached_tokens for usage in request if usage.cached_tokens is not None), default=None)


class ChatFormat:
    """`chat.completion` and its chunks."""

    def __init__(self, head: Head, *, n: int, include_usage: bool) -> None:
        self.head = head
        self.n = n
        self.include_usage = include_usage
        self.tally = UsageTally()

    def opening(self) -> list[replies.ChatCompletionChunk]:
        delta = replies.Delta(role="assistant", content="", refusal=None)
        return [self._chunk([replies.ChunkChoice(index=index, delta=delta)]) for index in range(self.n)]

    def chunk(self, event: core.Event) -> replies.ChatCompletionChunk | None:
        match event:
            case core.TextDelta():
                delta = replies.Delta(content=event.text)
                choice = replies.ChunkChoice(index=event.choice, delta=delta, logprobs=chat_logprobs(event.logprobs))
            case core.ReasoningDelta():
                choice = replies.ChunkChoice(index=event.choice, delta=replies.Delta(reasoning_content=event.text))
            case core.ToolCallDelta():
                choice = replies.ChunkChoice(index=event.choice, delta=replies.Delta(tool_calls=[_call_delta(event)]))
            case core.Finished():
                self.tally.add(event)
                choice = replies.ChunkChoice(index=event.choice, delta=replies.Delta(), finish_reason=event.reason)
            case _:
                return None
        return self._chunk([choice])

    def closing(self) -> list[replies.ChatCompletionChunk]:
        return [self._chunk([], usage=self.tally.total())] if self.include_usage else []

    def whole(self, events: Iterable[core.Event]) -> replies.ChatCompletion:
        lanes: list[list[core.Event]] = [[] for _ in range(self.n)]
        for event in coalesce(events):
            if not isinstance(event, core.Started):
                lanes[event.choice or 0].append(event)
            if isinstance(event, core.Finished):
                self.tally.add(event)
        return replies.ChatCompletion(
            id=self.head.id,
            created=self.head.created,
            model=self.head.model,
            choices=[_chat_choice(index, lane) for index, lane in enumerate(lanes)],
            usage=self.tally.total(),
            system_fingerprint=self.head.system_fingerprint,
        )

    def _chunk(
        self, choices: list[replies.ChunkChoice], usage: replies.Usage | None = None
    ) -> replies.ChatCompletionChunk:
        return replies.ChatCompletionChunk(
            id=self.head.id,
            created=self.head.created,
            model=self.head.model,
            choices=choices,
            system_fingerprint=self.head.system_fingerprint,
            usage=usage if self.include_usage else UNSET,
        )


def _chat_choice(index: int, lane: Sequence[core.Event]) -> replies.ChatChoice:
    texts = [event for event in lane if isinstance(event, core.TextDelta)]
    reasoning = "".join(event.text for event in lane if isinstance(event, core.ReasoningDelta))
    calls: dict[int, replies.ToolCall] = {}
    for event in lane:
        if isinstance(event, core.ToolCallDelta):
            calls[event.index] = _add(calls.get(event.index), event)
    text = "".join(event.text for event in texts)
    return replies.ChatChoice(
        index=index,
        message=replies.AssistantMessage(
            content=None if calls and not text else text,
            reasoning_content=reasoning or UNSET,
            tool_calls=[calls[key] for key in sorted(calls)] if calls else UNSET,
        ),
        logprobs=chat_logprobs([item for event in texts for item in event.logprobs]),
        finish_reason=_finish_reason(lane),
    )


def _add(call: replies.ToolCall | None, delta: core.ToolCallDelta) -> replies.ToolCall:
    function = replies.FunctionCall(
        name=(call.function.name if call else "") or delta.name or "",
        arguments=(call.function.arguments if call else "") + delta.arguments,
    )
    return replies.ToolCall(id=(call.id if call else "") or delta.id or "", function=function)


def _call_delta(event: core.ToolCallDelta) -> replies.ToolCallDelta:
    name: str | UnsetType = UNSET if event.name is None else event.name
    return replies.ToolCallDelta(
        index=event.index,
        id=UNSET if event.id is None else event.id,
        type=UNSET if event.id is None else "function",
        function=replies.FunctionCallDelta(name=name, arguments=event.arguments),
    )


def _finish_reason(lane: Sequence[core.Event]) -> core.FinishReason:
    return next(event.reason for event in lane if isinstance(event, core.Finished))


def chat_logprobs(tokens: Sequence[core.TokenLogprob]) -> replies.ChoiceLogprobs | None:
    if not tokens:
        return None
    return replies.ChoiceLogprobs(
        content=[
            replies.TokenLogprob(
                token=text_of(item.bytes),
                logprob=finite(item.logprob),
                bytes=list(item.bytes),
                top_logprobs=[
                    replies.TopLogprob(
                        token=text_of(other.bytes), logprob=finite(other.logprob), bytes=list(other.bytes)
                    )
                    for other in item.top
                ],
            )
            for item in tokens
        ]
    )


def text_of(piece: bytes) -> str:
    """A token's text for people; its bytes stand beside it where it is no whole character."""
    return piece.decode("utf-8", "replace")


def finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
