"""One choice's tokens on their way to events: bytes, characters, reasoning or answer, stop strings, deltas.

Used by `assemble` on the runner's event loop, one instance for each choice. Pure.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..backend import Sampled
from ..specs.events import Alternative, Event, ReasoningDelta, TextDelta, TokenLogprob
from .detokenizer import Detokenizer
from .reasoning import Kind, NoReasoning, Piece, ReasoningSplitter
from .stop import StopStrings


@dataclass
class _Delta:
    kind: Kind
    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(frozen=True)
class _Waiting:
    """A token's log-probability until the text behind it is given out."""

    kind: Kind
    start: int
    """Where its text begins, in all the characters decoded so far."""
    logprob: TokenLogprob


class TextPipeline:
    """Feed tokens, take deltas.

    `piece` gives a token's bytes, the markers of the reasoning dialect included; `stops` apply to the answer, not to
    the reasoning.
    """

    def __init__(
        self,
        piece: Callable[[int], bytes],
        *,
        splitter: ReasoningSplitter | None = None,
        stops: Sequence[str] = (),
        logprobs: bool = False,
    ) -> None:
        self._piece = piece
        self._detokenizer = Detokenizer()
        self._splitter: ReasoningSplitter = splitter or NoReasoning()
        self._stops = StopStrings(stops)
        self._logprobs = logprobs
        self._n_decoded = 0
        self._waiting: deque[_Waiting] = deque()
        self._deltas: list[_Delta] = []
        self.n_tokens = 0
        self.n_reasoning_tokens = 0

    @property
    def stop(self) -> str | None:
        """The stop string that ended the answer. Nothing fed after it has an effect."""
        return self._stops.matched

    def feed(self, sampled: Sampled) -> None:
        """Take one token in."""
        if self.stop is not None:
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
        if self.stop is not None:
            return
        text = self._detokenizer.flush()
        self._n_decoded += len(text)
        self._give([*self._splitter.feed(text), *self._splitter.flush()])
        if self.stop is None and (held := self._stops.flush()):
            self._append("answer", held)
        self._attach(self._n_decoded + 1)

    def take(self, request_id: int, choice: int) -> list[Event]:
        """The deltas since the last call, neighbours of one kind joined."""
        deltas, self._deltas = self._deltas, []
        return [
            (ReasoningDelta if delta.kind == "reasoning" else TextDelta)(
                request_id, delta.text, choice, tuple(delta.logprobs)
            )
            for delta in deltas
        ]

    def _give(self, pieces: Sequence[Piece]) -> None:
        cut = self._n_decoded - self._splitter.n_held
        for kind, text in pieces:
            if kind == "reasoning":
                self._append(kind, text)
                continue
            n_before = self._stops.n_held + len(text)
            given = self._stops.feed(text)
            self._append("answer", given)
            if self.stop is not None:  # what it matched, and what follows, is not part of the answer
                self._attach(cut - n_before + len(given))
                self._waiting.clear()
                return
        self._attach(cut - self._stops.n_held)

    def _append(self, kind: Kind, text: str) -> None:
        if text:
            self._last(kind).text += text

    def _attach(self, position: int) -> None:
        """Log-probabilities of the tokens whose text begins before `position`, which is what has been given out. Of
        a character's tokens, the first ones wait for the last."""
        while self._waiting and self._waiting[0].start < position:
            waiting = self._waiting.popleft()
            self._last(waiting.kind).logprobs.append(waiting.logprob)

    def _last(self, kind: Kind) -> _Delta:
        for delta in reversed(self._deltas):
            if delta.kind == kind:
                return delta
        self._deltas.append(_Delta(kind))
        return self._deltas[-1]

    def _token_logprob(self, sampled: Sampled) -> TokenLogprob:
        top = tuple(Alternative(token, self._piece(token), logprob) for token, logprob in sampled.top)
        return TokenLogprob(sampled.token, self._piece(sampled.token), sampled.logprob, top)
