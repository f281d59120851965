"""Harmony, the format of gpt-oss: an answer is a few messages, each with a channel and perhaps a recipient.

`<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...<|return|>`; a call is a
message to a function: `<|channel|>commentary to=functions.f <|constrain|>json<|message|>{...}<|call|>`, or with the
recipient in front of the channel, as the chat template has it
(https://cookbook.openai.com/articles/openai-harmony).
"""

import re
from collections.abc import Mapping, Sequence

from ..constraint.lark import TEXT, marker
from ..specs.content import Tool
from ..specs.request import ToolChoice
from .dialect import CallGrammar, CallPiece, Dialect, Piece, Thought
from .markers import overlap
from .tools.form import arguments_rule, literal_name

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
END, RETURN, CALL = "<|end|>", "<|return|>", "<|call|>"
_ENDS = (END, RETURN, CALL, START)
_HEADER_STARTS = (CHANNEL, START, " to=", "to=")
_LONGEST_HEADER = 300


class Harmony(Dialect):
    """Thoughts and calls in one."""

    name = "harmony"
    reasoning = calls = True
    markers = (START, CHANNEL, MESSAGE, CONSTRAIN, END, RETURN, CALL)
    answer_header = f"{CHANNEL}final{MESSAGE}"

    def recognises(self, template: str) -> bool:
        return CHANNEL in template and MESSAGE in template and START in template and "analysis" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> "HarmonyParser":
        return HarmonyParser(calls=bool(tools))

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        mark = {text: marker(text, control_tokens) for text in self.markers}
        return (
            f'start: thought? @answer\nTEXT: {TEXT}\nthought: {mark[CHANNEL]} "analysis" {mark[MESSAGE]} '
            f'{_up_to(END, control_tokens)} {mark[START]} "assistant"\n{_rule(END, control_tokens)}'
        )

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        mark = {text: marker(text, control_tokens) for text in self.markers}
        rules = [_rule(END, control_tokens)] if END not in control_tokens else []
        calls: list[str] = []
        for index, tool in enumerate(tools):
            name = literal_name(tool)
            behind = f'{mark[CHANNEL]} "commentary to=functions." {name} " " {mark[CONSTRAIN]} "json"'
            before = f'" to=functions." {name} {mark[CHANNEL]} "commentary json"'
            rules.append(arguments_rule(tool, f"arguments{index}"))
            rules.append(f"call{index}: ({behind} | {before}) {mark[MESSAGE]} arguments{index}")
            calls.append(f"call{index}")
        said = f'{mark[CHANNEL]} "commentary" {mark[MESSAGE]} {_up_to(END, control_tokens)}'
        rules.append(f'said: {said} {mark[START]} "assistant"')
        rules.append(f'final: {mark[CHANNEL]} "final" {mark[MESSAGE]} TEXT')
        return CallGrammar(opening="", body=" | ".join(calls), rules=tuple(rules), auto="said* (section | final)")


def _up_to(end: str, control_tokens: Mapping[str, int]) -> str:
    return f"TEXT {marker(end, control_tokens)}" if end in control_tokens else "up_to_end"


def _rule(end: str, control_tokens: Mapping[str, int]) -> str:
    return "" if end in control_tokens else f"up_to_end[lazy]: TEXT {marker(end, control_tokens)}"


class HarmonyParser:
    """See `dialect.Parser`. Text before any header is the answer's; so are messages of unknown channels."""

    def __init__(self, *, calls: bool) -> None:
        self._calls = calls
        self._held = ""
        self._kind = "begin"  # or "header", "thought", "text", "call"

    @property
    def reasoning(self) -> bool:
        return self._kind == "thought"

    @property
    def n_held(self) -> int:
        return len(self._held)

    def feed(self, text: str) -> list[Piece]:
        self._held += text
        pieces: list[Piece] = []
        while self._take(pieces):
            pass
        return pieces

    def end(self, token: str) -> list[Piece]:
        pieces: list[Piece] = []
        text, self._held = self._held, ""
        if self._kind in ("header", "begin") and text not in (START, f"{START}assistant"):
            self._give("text", text, pieces)
        elif self._kind not in ("header", "begin"):
            self._give(self._kind, text, pieces)
        return pieces

    def _take(self, pieces: list[Piece]) -> bool:
        if self._kind == "begin":
            return self._begin()
        if self._kind == "header":
            return self._header(pieces)
        return self._body(pieces)

    def _begin(self) -> bool:
        begun = self._held
        if any(begun.startswith(start) for start in _HEADER_STARTS):
            self._kind = "header"
            return True
        if any(start.startswith(begun) for start in _HEADER_STARTS):
            return False
        self._kind = "text"
        return True

    def _header(self, pieces: list[Piece]) -> bool:
        header, found, body = self._held.partition(MESSAGE)
        if not found:
            if len(header) > _LONGEST_HEADER:
                self._kind = "text"
                return True
            return False
        self._held = body
        recipient = re.search(r"to=functions\.([\w./-]+)", header)
        channel = re.search(re.escape(CHANNEL) + r"\s*(\w+)", header)
        if recipient and self._calls:
            self._kind = "call"
            pieces.append(CallPiece(name=recipient[1]))
        else:
            self._kind = "thought" if channel and channel[1] == "analysis" else "text"
        return True

    def _body(self, pieces: list[Piece]) -> bool:
        places = [(at, end) for end in _ENDS if (at := self._held.find(end)) >= 0]
        if not places:
            safe = len(self._held) - max(overlap(self._held, end) for end in _ENDS)
            self._give(self._kind, self._held[:safe], pieces)
            self._held = self._held[safe:]
            return False
        at, end = min(places)
        self._give(self._kind, self._held[:at], pieces)
        self._held = self._held[at if end == START else at + len(end) :]
        self._kind = "header" if end == START else "begin"
        return bool(self._held)

    def _give(self, kind: str, text: str, pieces: list[Piece]) -> None:
        if text:
            made: Piece = Thought(text) if kind == "thought" else CallPiece(arguments=text) if kind == "call" else text
            pieces.append(made)
