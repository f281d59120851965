"""One choice's tokens on their way to events: bytes, characters, reasoning or answer, stop strings, tool calls, deltas.

Used by `assemble` on the runner's event loop, one instance for each choice. Pure, but for the ids of tool calls.
"""

import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..backend import Sampled
from ..dialects.dialect import CallPiece, Parser, Piece, PlainText, Thought
from ..specs.events import Alternative, Event, FinishReason, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta
from .detokenizer import Detokenizer
from .stop import StandIns, StopStrings

Kind = Literal["reasoning", "answer"]


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
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(frozen=True)
class _Waiting:
    """A token's log-probability until the text behind it is given out."""

    kind: Kind
    start: int
    """Where its text begins, in all the characters decoded so far."""
    logprob: TokenLogprob


MOST_CALLS = 32
"""Calls of one answer. Small models that have to call something may go on to call it until the context is full: one
answer in ten of SmolLM2's, where it may choose between two cities."""


class TextPipeline:
    """Feed tokens, take deltas.

    `piece` gives a token's bytes and `control_texts` the spelling of those that have none; `shown` are the markers that
    `parser` has to see. `stops` are the request's, `turn_ends` the model's own: both end the answer, or a call, where
    they stand in it, not in the reasoning. Without `parallel` the answer ends where a second call begins, else where
    one more than `MOST_CALLS` does.
    """

    def __init__(
        self,
        piece: Callable[[int], bytes],
        control_texts: Mapping[int, bytes] | None = None,
        *,
        shown: Collection[str] = (),
        parser: Parser | None = None,
        stops: Sequence[str] = (),
        turn_ends: Sequence[str] = (),
        parallel: bool = True,
        logprobs: bool = False,
    ) -> None:
        self._piece = piece
        self._control_texts = control_texts or {}
        self._shown = shown
        self._detokenizer = Detokenizer()
        self._parser: Parser = parser or PlainText()
        self._all_stops = (*stops, *turn_ends)
        self._asked_stops = frozenset(stops)
        self._stand_ins = StandIns(self._all_stops, self._control_texts)
        self._stops = StopStrings(self._all_stops, self._stand_ins)
        self._in_call = False
        """Whether `_stops` reads the arguments of a call: nothing it holds runs on from one text into another."""
        self._parallel = parallel
        self._logprobs = logprobs
        self._n_decoded = 0
        self._n_calls = 0
        self._waiting: deque[_Waiting] = deque()
        self._deltas: list[_Delta | _CallDelta] = []
        self._gave_text = False
        """Whether the last token fed gave any text of the answer: if not, and nothing is held, it is of a call."""
        self._cut = False
        self.stop: str | None = None
        """The stop string that ended the answer."""
        self.n_tokens = 0
        self.n_reasoning_tokens = 0

    @property
    def over(self) -> bool:
        """Whether the answer has ended, whatever the engine would add. Nothing fed after that has an effect."""
        return self.stop is not None or self._cut

    def finish_reason(self, ended: Literal["stop", "length"]) -> FinishReason:
        """How the choice finished, where the engine says it has `ended` so. The caller's stop string is a "stop" with
        or without calls."""
        if self.over:
            ended = "stop"
        by_itself = self.stop not in self._asked_stops
        return "tool_calls" if self._n_calls and by_itself and ended == "stop" else ended

    def feed(self, sampled: Sampled) -> None:
        """Take one token in."""
        if self.over:
            return
        reasoning = self._parser.reasoning
        start = self._n_decoded
        text = self._text_of(sampled.token)
        self._n_decoded += len(text)
        pieces = self._parser.feed(text)
        reasoning = reasoning or self._parser.reasoning
        self.n_tokens += 1
        self.n_reasoning_tokens += reasoning
        if self._logprobs:
            kind: Kind = "reasoning" if reasoning else "answer"
            self._waiting.append(_Waiting(kind, start, self._token_logprob(sampled)))
        self._give(pieces)
        if not self.over:
            self._attach(self._n_decoded - self._parser.n_held - self._stops.n_held)

    def flush(self, ended_by: int | None = None) -> None:
        """The choice is over: give out everything held back. `ended_by` is the token that ended it, where the engine
        tells. Bytes of a character that was never completed are no text, and their tokens are not reported."""
        if self.over:
            return
        token = self._control_texts.get(-1 if ended_by is None else ended_by, b"").decode()
        self._gave_text = False
        self._give(self._parser.end(token))
        if not self.over and ended_by is not None:
            self._give([character] if (character := self._stand_ins.character(ended_by)) else [])
        if not self.over:
            self._settle()
            self._attach(self._n_decoded + (not self._detokenizer.n_held))

    def take(self, request_id: int, choice: int) -> list[Event]:
        """The deltas since the last call, neighbours of one kind joined."""
        deltas, self._deltas = self._deltas, []
        return [_event(delta, request_id, choice) for delta in deltas]

    def _text_of(self, token: int) -> str:
        """What a generated token adds to the text: nothing for control tokens that neither a dialect nor a stop string
        spells."""
        text = self._control_texts.get(token)
        if text is None:
            return self._detokenizer.feed(self._piece(token))
        if text.decode() in self._shown:
            return self._detokenizer.feed(text)
        return self._stand_ins.character(token) or self._detokenizer.feed(self._piece(token))

    def _give(self, pieces: Sequence[Piece]) -> None:
        self._gave_text = False
        for piece in pieces:
            match piece:
                case str():
                    self._text(piece)
                case CallPiece():
                    self._call(piece)
                case Thought(text):
                    self._append("reasoning", text)
            if self.over:
                self._waiting.clear()
                return

    def _text(self, text: str) -> None:
        if self._in_call:
            self._settle()
        n_before = self._stops.n_held + len(text)
        given = self._stops.feed(text)
        self._append("answer", given)
        if self._stops.matched is not None:  # what it matched, and what follows, is not part of the answer
            self.stop = self._stops.matched
            self._attach(self._n_decoded - self._parser.n_held - n_before + len(given))

    def _call(self, piece: CallPiece) -> None:
        if piece.name is not None:
            self._begin_call(piece.name, piece.id)
        elif not self._n_calls:
            raise ValueError("the tool dialect gave arguments before the name of a call")
        if not self.over:
            self._arguments(self._stops.feed(piece.arguments))
            self.stop = self._stops.matched

    def _begin_call(self, name: str, id: str | None) -> None:
        self._settle()
        if self._n_calls >= (MOST_CALLS if self._parallel else 1):
            self._cut = True
        elif found := next((stop for stop in self._all_stops if stop and stop in name), None):
            self.stop = found
        else:
            self._in_call = True
            self._n_calls += 1
            self._deltas.append(_CallDelta(self._n_calls - 1, id or f"call_{secrets.token_hex(12)}", name))

    def _settle(self) -> None:
        """The text, or the call, has ended: what may have been the beginning of a stop string was none."""
        held = self._stops.flush()
        if self._in_call:
            self._arguments(held)
            self._in_call = False
        else:
            self._append("answer", held)
        self._stops = StopStrings(self._all_stops, self._stand_ins)

    def _arguments(self, text: str) -> None:
        if not text:
            return
        last = self._deltas[-1] if self._deltas else None
        if not isinstance(last, _CallDelta):
            last = _CallDelta(self._n_calls - 1)
            self._deltas.append(last)
        last.arguments += self._stand_ins.erased(text)

    def _append(self, kind: Kind, text: str) -> None:
        if not (text := self._stand_ins.erased(text)):
            return
        self._gave_text = self._gave_text or kind == "answer"
        last = self._deltas[-1] if self._deltas else None
        if not (isinstance(last, _Delta) and last.kind == kind):
            last = _Delta(kind)
            self._deltas.append(last)
        last.text += text

    def _attach(self, position: int) -> None:
        """Log-probabilities of the tokens whose text begins before `position`, which is what has been given out. Of
        a character's tokens, the first ones wait for the last."""
        while self._waiting and self._waiting[0].start < position:
            waiting = self._waiting.popleft()
            is_text = waiting.kind == "reasoning" or self._gave_text or not self._n_calls
            delta = self._last(waiting.kind) if is_text else self._last_call()
            delta.logprobs.append(waiting.logprob)

    def _last_call(self) -> _CallDelta:
        for delta in reversed(self._deltas):
            if isinstance(delta, _CallDelta):
                return delta
        made = _CallDelta(self._n_calls - 1)
        self._deltas.append(made)
        return made

    def _last(self, kind: Kind) -> _Delta:
        for delta in reversed(self._deltas):
            if isinstance(delta, _Delta) and delta.kind == kind:
                return delta
        made = _Delta(kind)
        self._deltas.append(made)
        return made

    def _token_logprob(self, sampled: Sampled) -> TokenLogprob:
        top = tuple(Alternative(token, self._bytes(token), logprob) for token, logprob in sampled.top)
        return TokenLogprob(sampled.token, self._bytes(sampled.token), sampled.logprob, top)

    def _bytes(self, token: int) -> bytes:
        text = self._control_texts.get(token)
        return text if text is not None and text.decode() in self._shown else self._piece(token)


def _event(delta: _Delta | _CallDelta, request_id: int, choice: int) -> Event:
    if isinstance(delta, _CallDelta):
        return ToolCallDelta(
            request_id, delta.index, choice, delta.id, delta.name, delta.arguments, tuple(delta.logprobs)
        )
    kind = ReasoningDelta if delta.kind == "reasoning" else TextDelta
    return kind(request_id, delta.text, choice, tuple(delta.logprobs))
