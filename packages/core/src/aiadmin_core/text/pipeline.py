"""One choice's tokens on their way to events: bytes, characters, reasoning or answer, stop strings, tool calls, deltas.

Used by `assemble` on the runner's event loop, one instance for each choice. Pure, but for the ids of tool calls.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..backend import Sampled
from ..specs.events import Alternative, Event, FinishReason, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta
from ..tool_calls import CallPiece, Parsed, ToolCallParser
from .detokenizer import Detokenizer
from .reasoning import Kind, NoReasoning, Piece, ReasoningSplitter
from .stop import StopStrings


@dataclass
class _Delta:
    kind: Kind
    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass
class _CallDelta:
    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class _Waiting:
    """A token's log-probability until the text behind it is given out."""

    kind: Kind
    start: int
    """Where its text begins, in all the characters decoded so far."""
    logprob: TokenLogprob


class TextPipeline:
    """Feed tokens, take deltas.

    `piece` gives a token's bytes, the markers of the dialects included; `stops` apply to the answer as the model
    writes it, not to the reasoning. `stops_are_turn_ends` says that they are the model's own, not the request's.
    Without `parser` no tool calls are told apart; without `parallel` the answer ends where a second one begins.
    """

    def __init__(
        self,
        piece: Callable[[int], bytes],
        *,
        splitter: ReasoningSplitter | None = None,
        stops: Sequence[str] = (),
        stops_are_turn_ends: bool = False,
        parser: ToolCallParser | None = None,
        parallel: bool = True,
        logprobs: bool = False,
    ) -> None:
        self._piece = piece
        self._detokenizer = Detokenizer()
        self._splitter: ReasoningSplitter = splitter or NoReasoning()
        self._stops = StopStrings(stops)
        self._stops_are_turn_ends = stops_are_turn_ends
        self._parser = parser
        self._parallel = parallel
        self._logprobs = logprobs
        self._n_decoded = 0
        self._n_calls = 0
        self._waiting: deque[_Waiting] = deque()
        self._deltas: list[_Delta | _CallDelta] = []
        self._gave_text = False
        """Whether the last token fed gave any text of the answer: if not, and nothing is held, it is of a call."""
        self._cut = False
        self.n_tokens = 0
        self.n_reasoning_tokens = 0

    @property
    def stop(self) -> str | None:
        """The stop string that ended the answer."""
        return self._stops.matched

    @property
    def over(self) -> bool:
        """Whether the answer has ended, whatever the engine would add. Nothing fed after that has an effect."""
        return self.stop is not None or self._cut

    def finish_reason(self, ended: Literal["stop", "length"]) -> FinishReason:
        """How the choice finished, where the engine says it has `ended` so. The caller's stop string is a "stop" with
        or without calls."""
        if self.over:
            ended = "stop"
        by_itself = self.stop is None or self._stops_are_turn_ends
        return "tool_calls" if self._n_calls and by_itself and ended == "stop" else ended

    def feed(self, sampled: Sampled) -> None:
        """Take one token in."""
        if self.over:
            return
        reasoning = self._splitter.reasoning
        start = self._n_decoded
        text = self._detokenizer.feed(self._piece(sampled.token))
        self._n_decoded += len(text)
        pieces = self._splitter.feed(text)
        reasoning = reasoning or self._splitter.reasoning
        self.n_tokens += 1
        self.n_reasoning_tokens += reasoning
        if self._logprobs:
            kind: Kind = "reasoning" if reasoning else "answer"
            self._waiting.append(_Waiting(kind, start, self._token_logprob(sampled)))
        self._give(pieces)

    def flush(self) -> None:
        """The choice is over: give out everything held back."""
        if self.over:
            return
        text = self._detokenizer.flush()
        self._n_decoded += len(text)
        self._give([*self._splitter.feed(text), *self._splitter.flush()])
        if not self.over:
            self._answer(self._stops.flush())
            self._end_answer()
            self._attach(self._n_decoded + 1)

    def take(self, request_id: int, choice: int) -> list[Event]:
        """The deltas since the last call, neighbours of one kind joined."""
        deltas, self._deltas = self._deltas, []
        return [_event(delta, request_id, choice) for delta in deltas]

    def _give(self, pieces: Sequence[Piece]) -> None:
        self._gave_text = False
        cut = self._n_decoded - self._splitter.n_held
        for kind, text in pieces:
            if kind == "reasoning":
                self._append(kind, text)
                continue
            n_before = self._stops.n_held + len(text)
            given = self._stops.feed(text)
            self._answer(given)
            if self.stop is not None:  # what it matched, and what follows, is not part of the answer
                self._end_answer()
                self._attach(cut - n_before + len(given))
            if self.over:
                self._waiting.clear()
                return
        self._attach(cut - self._stops.n_held - (len(self._parser.held) if self._parser else 0))

    def _answer(self, text: str) -> None:
        if self._parser is None:
            self._append("answer", text)
        elif text:
            self._take_in(self._parser.feed(text))

    def _end_answer(self) -> None:
        if self._parser is not None:
            self._take_in(self._parser.flush())

    def _take_in(self, pieces: Parsed) -> None:
        for piece in pieces:
            if self._cut:
                return
            if isinstance(piece, str):
                self._append("answer", piece)
            else:
                self._call(piece)

    def _call(self, piece: CallPiece) -> None:
        if piece.name is not None:
            if self._n_calls and not self._parallel:
                self._cut = True
                return
            self._n_calls += 1
            identity = piece.id or f"call_{secrets.token_hex(12)}"
            self._deltas.append(_CallDelta(self._n_calls - 1, identity, piece.name, piece.arguments))
            return
        if not self._n_calls:
            raise ValueError("the tool dialect gave arguments before the name of a call")
        last = self._deltas[-1] if self._deltas else None
        if not isinstance(last, _CallDelta):
            last = _CallDelta(self._n_calls - 1)
            self._deltas.append(last)
        last.arguments += piece.arguments

    def _append(self, kind: Kind, text: str) -> None:
        if not text:
            return
        self._gave_text = self._gave_text or kind == "answer"
        last = self._deltas[-1] if self._deltas else None
        if not (isinstance(last, _Delta) and last.kind == kind):
            last = _Delta(kind)
            self._deltas.append(last)
        last.text += text

    def _attach(self, position: int) -> None:
        """Log-probabilities of the tokens whose text begins before `position`, which is what has been given out. Of
        a character's tokens, the first ones wait for the last; those of tool calls have no delta to go with."""
        while self._waiting and self._waiting[0].start < position:
            waiting = self._waiting.popleft()
            if waiting.kind == "reasoning" or self._gave_text or self._parser is None:
                self._last(waiting.kind).logprobs.append(waiting.logprob)

    def _last(self, kind: Kind) -> _Delta:
        for delta in reversed(self._deltas):
            if isinstance(delta, _Delta) and delta.kind == kind:
                return delta
        made = _Delta(kind)
        self._deltas.append(made)
        return made

    def _token_logprob(self, sampled: Sampled) -> TokenLogprob:
        top = tuple(Alternative(token, self._piece(token), logprob) for token, logprob in sampled.top)
        return TokenLogprob(sampled.token, self._piece(sampled.token), sampled.logprob, top)


def _event(delta: _Delta | _CallDelta, request_id: int, choice: int) -> Event:
    if isinstance(delta, _CallDelta):
        return ToolCallDelta(request_id, delta.index, choice, delta.id, delta.name, delta.arguments)
    kind = ReasoningDelta if delta.kind == "reasoning" else TextDelta
    return kind(request_id, delta.text, choice, tuple(delta.logprobs))
