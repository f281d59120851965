"""Tells what a model thinks from what it answers.

A `ReasoningDialect` knows the markers of one family of models and recognises its chat templates; plugins add more by
the hook `aiadmin_reasoning_dialects`. Used by `assemble`, which asks for one splitter for each choice.
"""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from .markers import overlap

Kind = Literal["reasoning", "answer"]
Piece = tuple[Kind, str]


class ReasoningSplitter(Protocol):
    """One choice's text, told apart as it comes."""

    @property
    def reasoning(self) -> bool:
        """Whether the model is thinking now."""

    @property
    def n_held(self) -> int:
        """Characters held back because they may be part of a marker."""

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain with `text`, markers left out."""

    def flush(self) -> list[Piece]:
        """What was held back, at the end."""


class ReasoningDialect(Protocol):
    """How a family of models marks its reasoning."""

    @property
    def name(self) -> str:
        """For logs."""

    @property
    def start(self) -> str:
        """Text that opens a block of reasoning, as a control token's or as plain text."""

    @property
    def end(self) -> str:
        """Text that closes it."""

    def recognises(self, template: str) -> bool:
        """Whether the chat template `template` is of this family."""

    def opened(self, prompt_tail: str) -> bool:
        """Whether a prompt that ends in `prompt_tail` has already opened a block."""

    def may_open(self, prompt_tail: str) -> bool:
        """Whether the model may open a block itself after a prompt that ends in `prompt_tail`."""

    def splitter(self, prompt_tail: str) -> ReasoningSplitter:
        """A splitter for an answer to a prompt that ends in `prompt_tail`."""


class Recognises(Protocol):
    """What all dialects have in common."""

    def recognises(self, template: str) -> bool: ...


Dialect = TypeVar("Dialect", bound=Recognises)


@dataclass(frozen=True)
class MarkedReasoning:
    """A block between two markers at the beginning of the answer; the prompt may have opened it."""

    name: str
    start: str
    end: str

    def recognises(self, template: str) -> bool:
        return self.end in template  # some only take old reasoning out of the history, up to its end

    def opened(self, prompt_tail: str) -> bool:
        return prompt_tail.rstrip().endswith(self.start)

    def may_open(self, prompt_tail: str) -> bool:
        return not prompt_tail.rstrip().endswith(self.end)  # "<think></think>" in the prompt: thinking is switched off

    def splitter(self, prompt_tail: str) -> "MarkerSplitter":
        state: State = "reasoning" if self.opened(prompt_tail) else "start" if self.may_open(prompt_tail) else "answer"
        return MarkerSplitter(self.start, self.end, state)


DIALECTS: tuple[ReasoningDialect, ...] = (
    MarkedReasoning("think", "<think>", "</think>"),
    MarkedReasoning("seed", "<seed:think>", "</seed:think>"),
    MarkedReasoning("minimax", "<mm:think>", "</mm:think>"),
    MarkedReasoning("mistral", "[THINK]", "[/THINK]"),
    MarkedReasoning("cohere", "<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Ours. Those of plugins come first."""


def detect(template: str, dialects: Iterable[Dialect]) -> Dialect | None:
    """The first dialect, of reasoning or of tool calls, that recognises the model's chat template. One that raises is
    passed over: it is a plugin's, and must not keep every model from being opened."""
    return next((dialect for dialect in dialects if _recognises(dialect, template)), None)


def _recognises(dialect: Recognises, template: str) -> bool:
    try:
        return dialect.recognises(template)
    except Exception:
        traceback.print_exc()  # to the runner's log
        return False


State = Literal["start", "reasoning", "answer"]


class MarkerSplitter:
    """Splits `start` reasoning `end` answer. White space around the markers belongs to neither."""

    def __init__(self, start: str, end: str, state: State) -> None:
        self._start = start
        self._end = end
        self._state: State = state
        self._held = ""
        self._trim = state == "reasoning"  # white space before the first character of a block is dropped

    @property
    def reasoning(self) -> bool:
        return self._state == "reasoning"

    @property
    def n_held(self) -> int:
        return len(self._held)

    def feed(self, text: str) -> list[Piece]:
        if self._state == "answer" and not self._trim:
            return [("answer", text)] if text else []
        text, self._held = self._held + text, ""
        pieces: list[Piece] = []
        if self._state == "start":
            text = self._take_start(text)
        if self._state == "reasoning":
            text = self._take_reasoning(text, pieces)
        if self._state == "answer":
            self._give("answer", text, pieces)
        return pieces

    def flush(self) -> list[Piece]:
        text, self._held = self._held, ""
        kind: Kind = "reasoning" if self.reasoning else "answer"
        text = text.rstrip() if self.reasoning else text
        return [(kind, text)] if text else []

    def _take_start(self, text: str) -> str:
        begun = text.lstrip()
        if begun.startswith(self._start):
            self._state, self._trim = "reasoning", True
            return begun[len(self._start) :]
        if self._start.startswith(begun):  # nothing but white space, or the beginning of the marker
            self._held = text
            return ""
        self._state = "answer"
        return text

    def _take_reasoning(self, text: str, pieces: list[Piece]) -> str:
        thought, found, answer = text.partition(self._end)
        if found:
            self._give("reasoning", thought.rstrip(), pieces)
            self._state, self._trim = "answer", True
            return answer
        safe = len(text) - overlap(text, self._end)
        safe = len(text[:safe].rstrip())
        self._held = text[safe:]
        self._give("reasoning", text[:safe], pieces)
        return ""

    def _give(self, kind: Kind, text: str, pieces: list[Piece]) -> None:
        text = text.lstrip() if self._trim else text
        if text:
            self._trim = False
            pieces.append((kind, text))


class NoReasoning:
    """The splitter of models that do not reason: everything is the answer."""

    reasoning = False
    n_held = 0

    def feed(self, text: str) -> list[Piece]:
        return [("answer", text)] if text else []

    def flush(self) -> list[Piece]:
        return []
