"""Reasoning in a block between two markers at the beginning of the answer; the prompt may have opened it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from ...constraint.lark import TEXT, literal, marked
from ...specs.content import Tool
from ..dialect import Dialect, Piece, Thought
from ..markers import overlap

State = Literal["start", "reasoning", "answer"]


class MarkedReasoning(Dialect):
    """`start` opens a block and `end` closes it, as control tokens or as plain text; `markers` are the control tokens
    in them where they are not all of it."""

    reasoning = True

    def __init__(self, name: str, start: str, end: str, *, markers: Sequence[str] = ()) -> None:
        self.name = name
        self.start = start
        self.end = end
        self.markers = tuple(markers) or (start, end)

    def recognises(self, template: str) -> bool:
        return self.end in template  # some only take old reasoning out of the history, up to its end

    def opened(self, prompt_tail: str) -> bool:
        """Whether a prompt that ends in `prompt_tail` has already opened a block."""
        return prompt_tail.rstrip().endswith(self.start)

    def may_open(self, prompt_tail: str) -> bool:
        """Whether the model may open a block itself after such a prompt."""
        return not prompt_tail.rstrip().endswith(self.end)  # "<think></think>" in the prompt: thinking is switched off

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> "MarkedParser":
        state: State = "reasoning" if self.opened(prompt_tail) else "start" if self.may_open(prompt_tail) else "answer"
        return MarkedParser(self.start, self.end, state)

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        """An answer has to come: nothing in here may be the end. White space around the block is nobody's."""
        if self.end in control_tokens:
            rules = f"thought: TEXT <[{control_tokens[self.end]}]>"
        else:
            rules = f"thought[lazy]: TEXT {literal(self.end)}"
        rules += f"\nTEXT: {TEXT}\nSPACE: /[ \\n]{{1,4}}/"
        if self.opened(prompt_tail):
            return f"start: thought SPACE? @answer\n{rules}"
        if not self.may_open(prompt_tail):
            return None
        start, end = (marked(text, control_tokens) for text in (self.start, self.end))
        return f"start: (SPACE? ({start} thought | {end}) SPACE?)? @answer\n{rules}"


class MarkedParser:
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
            return [text] if text else []
        text, self._held = self._held + text, ""
        pieces: list[Piece] = []
        if self._state == "start":
            text = self._take_start(text)
        if self._state == "reasoning":
            text = self._take_reasoning(text, pieces)
        if self._state == "answer" and (text := self._trimmed(text)):
            pieces.append(text)
        return pieces

    def end(self, token: str) -> list[Piece]:
        text, self._held = self._held, ""
        if self.reasoning:
            return [Thought(thought)] if (thought := text.rstrip()) else []
        return [text] if text else []

    def _take_start(self, text: str) -> str:
        begun = text.lstrip()
        if begun.startswith(self._start):
            self._state, self._trim = "reasoning", True
            return begun[len(self._start) :]
        if begun.startswith(self._end):  # some models say so that they do not think
            self._state, self._trim = "answer", True
            return begun[len(self._end) :]
        if self._start.startswith(begun) or self._end.startswith(begun):  # white space, or the beginning of a marker
            self._held = text
            return ""
        self._state = "answer"
        return text

    def _take_reasoning(self, text: str, pieces: list[Piece]) -> str:
        thought, found, answer = text.partition(self._end)
        if found:
            thought = thought.rstrip()
            self._state = "answer"
        else:
            safe = len(text) - overlap(text, self._end)
            safe = len(text[:safe].rstrip())
            thought, self._held = text[:safe], text[safe:]
        if thought := self._trimmed(thought):
            pieces.append(Thought(thought))
        self._trim = self._trim or bool(found)
        return answer

    def _trimmed(self, text: str) -> str:
        text = text.lstrip() if self._trim else text
        self._trim = self._trim and not text
        return text
