"""Core's events to `chat.completion` and its chunks: pure, one object for each response."""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType

from aiadmin_core.specs import events as core

from ..logprobs import finite, text_of
from ..streaming import Head, OpenAIWriter
from ..usage import Usage, UsageTally
from . import wire


class ChatWriter(OpenAIWriter):
    """`chat.completion` and its chunks."""

    def __init__(self, head: Head, *, n: int, include_usage: bool) -> None:
        super().__init__(head)
        self.n = n
        self.include_usage = include_usage
        self.tally = UsageTally()

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
                choice = wire.ChunkChoice(index=event.choice, delta=wire.Delta(reasoning_content=event.text))
            case core.ToolCallDelta():
                choice = wire.ChunkChoice(index=event.choice, delta=wire.Delta(tool_calls=[_call_delta(event)]))
            case core.Finished():
                self.tally.add(event)
                choice = wire.ChunkChoice(index=event.choice, delta=wire.Delta(), finish_reason=event.reason)
            case _:
                return
        yield self._chunk([choice])

    def last(self) -> Iterator[wire.ChatCompletionChunk]:
        if self.include_usage:
            yield self._chunk([], usage=self.tally.total())

    def whole(self, events: Sequence[core.Event]) -> wire.ChatCompletion:
        lanes: list[list[core.Event]] = [[] for _ in range(self.n)]
        for event in events:
            if not isinstance(event, core.Started | core.Embedded | core.Scored):
                lanes[event.choice or 0].append(event)
            if isinstance(event, core.Finished):
                self.tally.add(event)
        return wire.ChatCompletion(
            id=self.head.id,
            created=self.head.created,
            model=self.head.model,
            choices=[_chat_choice(index, lane) for index, lane in enumerate(lanes)],
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


def _chat_choice(index: int, lane: Sequence[core.Event]) -> wire.ChatChoice:
    texts = [event for event in lane if isinstance(event, core.TextDelta)]
    reasoning = "".join(event.text for event in lane if isinstance(event, core.ReasoningDelta))
    calls: dict[int, wire.ToolCall] = {}
    for event in lane:
        if isinstance(event, core.ToolCallDelta):
            calls[event.index] = _add(calls.get(event.index), event)
    text = "".join(event.text for event in texts)
    return wire.ChatChoice(
        index=index,
        message=wire.AssistantMessage(
            content=None if calls and not text else text,
            reasoning_content=reasoning or UNSET,
            tool_calls=[calls[key] for key in sorted(calls)] if calls else UNSET,
        ),
        logprobs=chat_logprobs([item for event in texts for item in event.logprobs]),
        finish_reason=_finish_reason(lane),
    )


def _add(call: wire.ToolCall | None, delta: core.ToolCallDelta) -> wire.ToolCall:
    function = wire.FunctionCall(
        name=(call.function.name if call else "") or delta.name or "",
        arguments=(call.function.arguments if call else "") + delta.arguments,
    )
    return wire.ToolCall(id=(call.id if call else "") or delta.id or "", function=function)


def _call_delta(event: core.ToolCallDelta) -> wire.ToolCallDelta:
    name: str | UnsetType = UNSET if event.name is None else event.name
    return wire.ToolCallDelta(
        index=event.index,
        id=UNSET if event.id is None else event.id,
        type=UNSET if event.id is None else "function",
        function=wire.FunctionCallDelta(name=name, arguments=event.arguments),
    )


def _finish_reason(lane: Sequence[core.Event]) -> core.FinishReason:
    return next(event.reason for event in lane if isinstance(event, core.Finished))


def chat_logprobs(tokens: Sequence[core.TokenLogprob]) -> wire.ChoiceLogprobs | None:
    if not tokens:
        return None
    return wire.ChoiceLogprobs(
        content=[
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
    )
