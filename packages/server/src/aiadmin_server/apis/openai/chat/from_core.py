"""Core's events to `chat.completion` and its chunks: pure, one object for each response."""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from aiadmin_core.specs import events as core

from ....serving.logprobs import finite, text_of
from ..custom import Unwrapper
from ..streaming import Head, OpenAIWriter
from ..usage import Usage, UsageTally
from . import wire
from .tools import Telling

_FUNCTIONS = Telling()
KINDS = (core.TextDelta, core.ReasoningDelta, core.ToolCallDelta)
"""Of deltas: `chat_logprobs` tells each apart."""


class ChatWriter(OpenAIWriter):
    """`chat.completion` and its chunks."""

    def __init__(self, head: Head, *, n: int, include_usage: bool, telling: Telling = _FUNCTIONS) -> None:
        super().__init__(head)
        self.telling = telling
        self.n = n
        self.include_usage = include_usage
        self.tally = UsageTally()
        self._inputs: dict[tuple[int, int], Unwrapper] = {}
        """Of the calls of custom tools, by choice and index."""

    def first(self) -> Iterator[wire.ChatCompletionChunk]:
        delta = wire.Delta(role="assistant", content="", refusal=None)
        for index in range(self.n):
            yield self._chunk([wire.ChunkChoice(index=index, delta=delta)])

    def chunks(self, event: core.Event) -> Iterator[wire.ChatCompletionChunk]:
        match event:
            case core.TextDelta():
                delta = wire.Delta(content=event.text)
                choice = wire.ChunkChoice(index=event.choice, delta=delta, logprobs=chat_logprobs(event.logprobs))
            case core.ReasoningDelta():
                choice = wire.ChunkChoice(
                    index=event.choice,
                    delta=wire.Delta(reasoning_content=event.text),
                    logprobs=chat_logprobs((), thoughts=event.logprobs),
                )
            case core.ToolCallDelta():
                choice = wire.ChunkChoice(
                    index=event.choice,
                    delta=self._call_delta(event),
                    logprobs=chat_logprobs((), calls=event.logprobs),
                )
            case core.Finished():
                self.tally.add(event)
                reason = self._reason(event.reason)
                choice = wire.ChunkChoice(index=event.choice, delta=wire.Delta(), finish_reason=reason)
            case _:
                return
        yield self._chunk([choice])

    def last(self) -> Iterator[wire.ChatCompletionChunk]:
        if self.include_usage:
            yield self._chunk([], usage=self.tally.total())

    def whole(self, events: Sequence[core.Event]) -> wire.ChatCompletion:
        lanes: list[list[core.Event]] = [[] for _ in range(self.n)]
        for event in events:
            if isinstance(event, core.TextDelta | core.ReasoningDelta | core.ToolCallDelta | core.Finished):
                lanes[event.choice].append(event)
            if isinstance(event, core.Finished):
                self.tally.add(event)
        return wire.ChatCompletion(
            id=self.head.id,
            created=self.head.created,
            model=self.head.model,
            choices=[self._choice(index, lane) for index, lane in enumerate(lanes)],
            usage=self.tally.total(),
            system_fingerprint=self.head.system_fingerprint,
        )

    def _chunk(self, choices: list[wire.ChunkChoice], usage: Usage | None = None) -> wire.ChatCompletionChunk:
        return wire.ChatCompletionChunk(
            id=self.head.id,
            created=self.head.created,
            model=self.head.model,
            choices=choices,
            system_fingerprint=self.head.system_fingerprint,
            usage=usage if self.include_usage else UNSET,
        )

    def _choice(self, index: int, lane: Sequence[core.Event]) -> wire.ChatChoice:
        texts = [event for event in lane if isinstance(event, core.TextDelta)]
        reasoning = "".join(event.text for event in lane if isinstance(event, core.ReasoningDelta))
        calls: dict[int, core.ToolCallDelta] = {}
        for event in lane:
            if isinstance(event, core.ToolCallDelta):
                calls[event.index] = _add(calls.get(event.index), event)
        text = "".join(event.text for event in texts)
        told = [self._call(calls[key]) for key in sorted(calls)]
        legacy = next((call.function for call in told if isinstance(call, wire.ToolCall)), None)
        return wire.ChatChoice(
            index=index,
            message=wire.AssistantMessage(
                content=None if calls and not text else text,
                reasoning_content=reasoning or UNSET,
                tool_calls=told if told and not self.telling.legacy else UNSET,
                function_call=legacy if legacy and self.telling.legacy else UNSET,
            ),
            logprobs=chat_logprobs(
                *([item for event in lane if isinstance(event, kind) for item in event.logprobs] for kind in KINDS)
            ),
            finish_reason=self._reason(next(event.reason for event in lane if isinstance(event, core.Finished))),
        )

    def _call(self, call: core.ToolCallDelta) -> wire.ToolCall | wire.CustomToolCall:
        name, call_id = call.name or "", call.id or ""
        if name in self.telling.custom:
            return wire.CustomToolCall(
                id=call_id, custom=wire.CustomCall(name=name, input=Unwrapper().feed(call.arguments))
            )
        return wire.ToolCall(id=call_id, function=wire.FunctionCall(name=name, arguments=call.arguments))

    def _call_delta(self, event: core.ToolCallDelta) -> wire.Delta:
        name: str | UnsetType = UNSET if event.name is None else event.name
        call_id: str | UnsetType = UNSET if event.id is None else event.id
        if self.telling.legacy:
            return wire.Delta(function_call=wire.FunctionCallDelta(name=name, arguments=event.arguments))
        place = (event.choice, event.index)
        if name in self.telling.custom:
            self._inputs[place] = Unwrapper()
        if place in self._inputs:
            call = wire.ToolCallDelta(
                index=event.index,
                id=call_id,
                type=UNSET if call_id is UNSET else "custom",
                custom=wire.CustomCallDelta(name=name, input=self._inputs[place].feed(event.arguments)),
            )
        else:
            call = wire.ToolCallDelta(
                index=event.index,
                id=call_id,
                type=UNSET if call_id is UNSET else "function",
                function=wire.FunctionCallDelta(name=name, arguments=event.arguments),
            )
        return wire.Delta(tool_calls=[call])

    def _reason(self, reason: core.FinishReason) -> wire.FinishReason:
        return "function_call" if reason == "tool_calls" and self.telling.legacy else reason


def _add(call: core.ToolCallDelta | None, delta: core.ToolCallDelta) -> core.ToolCallDelta:
    if call is None:
        return delta
    return replace(
        call, id=call.id or delta.id, name=call.name or delta.name, arguments=call.arguments + delta.arguments
    )


def chat_logprobs(
    tokens: Sequence[core.TokenLogprob],
    thoughts: Sequence[core.TokenLogprob] = (),
    calls: Sequence[core.TokenLogprob] = (),
) -> wire.ChoiceLogprobs | None:
    """None where nothing was asked for, or there is nothing to tell."""
    if not (tokens or thoughts or calls):
        return None
    return wire.ChoiceLogprobs(
        content=_told(tokens) or None,
        reasoning_content=_told(thoughts) or UNSET,
        tool_calls=_told(calls) or UNSET,
    )


def _told(tokens: Sequence[core.TokenLogprob]) -> list[wire.TokenLogprob]:
    return [
        wire.TokenLogprob(
            token=text_of(item.bytes),
            logprob=finite(item.logprob),
            bytes=list(item.bytes),
            top_logprobs=[
                wire.TopLogprob(token=text_of(other.bytes), logprob=finite(other.logprob), bytes=list(other.bytes))
                for other in item.top
            ],
        )
        for item in tokens
    ]
