"""What lines of `/api/chat` and `/api/generate` have alike: when, how the answer ended, what it took. Used by both
`from_core`s."""

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aiadmin_core.specs import events as core

from ...serving.exchange import Opened
from ...serving.logprobs import finite, text_of
from ...serving.writer import LineWriter

NS = 10**9


class TopLogprob(Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]


class Logprob(Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob] | UnsetType = UNSET


class Metrics(Struct, frozen=True, kw_only=True):
    """Fields of the last line. Durations are nanoseconds; what is 0 is left out, as Ollama does."""

    done_reason: str | UnsetType = UNSET
    """`stop`, `length`, `load` or `unload`."""
    total_duration: int | UnsetType = UNSET
    """From when the request had been read."""
    load_duration: int | UnsetType = UNSET
    """How long it waited for the model to be loaded."""
    prompt_eval_count: int | UnsetType = UNSET
    """Tokens of the prompt, those found in the prefix cache included."""
    prompt_eval_cached_count: int | UnsetType = UNSET
    """How many those are, where the engine knows. Ours."""
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    """Tokens of the answer, thoughts included."""
    eval_duration: int | UnsetType = UNSET


def now() -> str:
    """Now, as RFC 3339 with nanoseconds."""
    seconds, rest = divmod(time.time_ns(), NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


class Piece(Struct, frozen=True, kw_only=True):
    """What a line says of the answer."""

    text: str = ""
    thinking: str = ""
    calls: tuple[core.ToolCallDelta, ...] = ()
    """Whole ones."""
    logprobs: tuple[core.TokenLogprob, ...] = ()
    end: dict[str, Any] | None = None
    """Fields of `Metrics`, in the last line."""


class NativeWriter(LineWriter):
    """Lines with pieces of the answer, then one that says `done`. A request that generates nothing has only that."""

    def __init__(self, model: str, *, asks: bool) -> None:
        """`asks`: whether anything is asked of the model, but to be loaded."""
        self.model = model
        self._asks = asks
        self._begun_at = time.perf_counter()
        self._load_s = 0.0
        self._call: core.ToolCallDelta | None = None
        """That has not ended yet: a line has whole ones."""

    @abstractmethod
    def line(self, piece: Piece) -> Struct:
        """One line; `piece` may be a whole answer."""

    def begin(self, opened: Opened) -> None:
        self.model = opened.lease.answers_as
        self._load_s = opened.lease.load_s

    def chunks(self, event: core.Event) -> Iterable[Struct]:
        return map(self.line, self._pieces(event))

    def last(self) -> Iterable[Struct]:
        return () if self._asks else (self.line(self._loaded()),)

    def whole(self, events: Sequence[core.Event]) -> Struct:
        pieces = [piece for event in events for piece in self._pieces(event)]
        if not self._asks:
            pieces.append(self._loaded())
        return self.line(
            Piece(
                text="".join(piece.text for piece in pieces),
                thinking="".join(piece.thinking for piece in pieces),
                calls=tuple(call for piece in pieces for call in piece.calls),
                logprobs=tuple(item for piece in pieces for item in piece.logprobs),
                end=pieces[-1].end,
            )
        )

    def _pieces(self, event: core.Event) -> Iterator[Piece]:
        if isinstance(event, core.ToolCallDelta):
            if self._call is not None and self._call.index == event.index:
                self._call = replace(self._call, arguments=self._call.arguments + event.arguments)
                return
            ended, self._call = self._call, event
        else:
            ended, self._call = self._call, None
        if ended is not None and arguments_of(ended) is not None:  # one that was cut off is no call
            yield Piece(calls=(ended,))
        match event:
            case core.TextDelta():
                yield Piece(text=event.text, logprobs=event.logprobs)
            case core.ReasoningDelta():
                yield Piece(thinking=event.text, logprobs=event.logprobs)
            case core.Finished():
                yield Piece(end=self._metrics(event))

    def _loaded(self) -> Piece:
        return Piece(end={"done_reason": "load"})

    def _metrics(self, finished: core.Finished) -> dict[str, Any]:
        usage = finished.usage
        return {
            "done_reason": "length" if finished.reason == "length" else "stop",
            "total_duration": ns(time.perf_counter() - self._begun_at),
            "load_duration": ns(self._load_s),
            "prompt_eval_count": usage.prompt_tokens or UNSET,
            "prompt_eval_cached_count": UNSET if usage.cached_tokens is None else usage.cached_tokens,
            "prompt_eval_duration": ns(usage.prefill_s),
            "eval_count": usage.completion_tokens or UNSET,
            "eval_duration": ns(usage.decode_s),
            **({"context": list(finished.tokens)} if finished.tokens else {}),
        }


def arguments_of(call: core.ToolCallDelta) -> dict[str, Any] | None:
    """The arguments of a whole call; None for what is no JSON object."""
    try:
        return msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return None


def logprobs_of(tokens: Sequence[core.TokenLogprob]) -> list[Logprob] | UnsetType:
    """As Ollama tells them; nothing where there are none."""
    if not tokens:
        return UNSET
    return [
        Logprob(
            token=text_of(item.bytes),
            logprob=finite(item.logprob),
            bytes=list(item.bytes),
            top_logprobs=[
                TopLogprob(token=text_of(other.bytes), logprob=finite(other.logprob), bytes=list(other.bytes))
                for other in item.top
            ]
            or UNSET,
        )
        for item in tokens
    ]


def ns(seconds: float) -> int | UnsetType:
    """Seconds as nanoseconds; none at all are left out."""
    return round(seconds * NS) or UNSET
