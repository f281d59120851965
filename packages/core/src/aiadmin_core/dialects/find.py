"""From a chat template to the dialects of its model. Used by `assemble`, once a model."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..specs.content import Tool
from ..specs.request import ChatInput, ToolChoice
from ..text.template import Template
from .dialect import CallGrammar, Dialect, Parser, Piece, PlainText
from .functionary import Functionary
from .harmony import Harmony
from .kimi import Kimi
from .leading import LeadingSpace
from .muse import Muse
from .reasoning import REASONING
from .tools.derive import derive, derive_pythonic, takes_system, writes_calls
from .tools.described import described
from .tools.gemma import Gemma
from .tools.generic import GenericDialect
from .tools.nested import NestedTags
from .tools.pythonic import Pythonic
from .tools.template import FormDialect

OURS: tuple[Dialect, ...] = (Harmony(), Muse(), Kimi(), Functionary(), Gemma(), NestedTags(), *REASONING)
"""Those of plugins come first."""


@dataclass(frozen=True)
class Speech:
    """How one model speaks: a dialect of reasoning and one of tool calls, which may be the same; None where it does
    not reason, or calls nothing."""

    reasoning: Dialect | None = None
    calls: Dialect | None = None
    note: str = ""
    """What an administrator should know of it."""

    def markers(self, *, calls: bool) -> frozenset[str]:
        """The texts that parsers have to see, also where they are control tokens."""
        used = (self.reasoning, self.calls if calls else None)
        return frozenset(text for dialect in used if dialect is not None for text in dialect.markers)

    def rewrite(self, chat: ChatInput) -> ChatInput:
        """See `Dialect.rewrite`."""
        for dialect in self._distinct():
            chat = dialect.rewrite(chat)
        return chat

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> Parser:
        """A parser of everything this model writes. Reasoning is read first, and calls in it are thoughts."""
        outer, inner = self.reasoning, self.calls if tools else None
        if outer is not None and (inner is None or inner is outer):
            return outer.parser(prompt_tail, tools)
        calls = PlainText() if inner is None else LeadingSpace(inner.parser(prompt_tail, tools))
        return calls if outer is None else Stacked(outer.parser(prompt_tail, ()), calls)

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        """See `Dialect.before_answer`."""
        return self.reasoning.before_answer(prompt_tail, control_tokens) if self.reasoning else None

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        """See `Dialect.call_grammar`."""
        return self.calls.call_grammar(tools, choice, control_tokens) if self.calls else None

    @property
    def answer_header(self) -> str:
        """See `Dialect.answer_header`."""
        return self.reasoning.answer_header if self.reasoning else ""

    def _distinct(self) -> list[Dialect]:
        found = [dialect for dialect in (self.reasoning, self.calls) if dialect is not None]
        return found[:1] if self.reasoning is self.calls else found


class Stacked:
    """Two parsers, one behind the other: the answer of `outer` is read by `inner`."""

    def __init__(self, outer: Parser, inner: Parser) -> None:
        self._outer, self._inner = outer, inner

    @property
    def reasoning(self) -> bool:
        return self._outer.reasoning

    @property
    def n_held(self) -> int:
        return self._outer.n_held + self._inner.n_held

    def feed(self, text: str) -> list[Piece]:
        return self._read(self._outer.feed(text))

    def end(self, token: str) -> list[Piece]:
        return [*self._read(self._outer.end(token)), *self._inner.end(token)]

    def _read(self, pieces: Sequence[Piece]) -> list[Piece]:
        read: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, str):
                read.extend(self._inner.feed(piece))
            else:
                read.append(piece)
        return read


def find_speech(template: Template, dialects: Sequence[Dialect], control_texts: Sequence[str] = ()) -> Speech:
    """How the model of `template` speaks. For reasoning and for calls it is the first of `dialects` that recognises the
    template; one that raises is passed over: it is a plugin's, and must not keep every model from being opened. Where
    none knows the calls, their form is what the template itself writes, and else the generic one. `control_texts` are
    the texts of the model's control tokens."""
    found = [dialect for dialect in dialects if _recognises(dialect, template.source)]
    calls = next((dialect for dialect in found if dialect.calls), None) or _of_template(template, control_texts)
    return Speech(
        reasoning=next((dialect for dialect in found if dialect.reasoning), None),
        calls=calls,
        note=UNREAD if isinstance(calls, GenericDialect) and writes_calls(template) else "",
    )


UNREAD = "tools are called in a general form: that of the chat template's own calls cannot be read back"


def _of_template(template: Template, control_texts: Sequence[str]) -> Dialect:
    lfm2 = Pythonic()
    try:
        form = derive(template)
        pythonic = derive_pythonic(template) if form is None else None
        if form is None and pythonic is None and (lfm2.recognises(template.source) or lfm2.opening in control_texts):
            pythonic = lfm2  # trained on them, whatever the template leaves out
    except Exception:  # templates are strangers' programs: one that surprises `derive` is one without a form
        traceback.print_exc()
        form = pythonic = None
    if form is not None:
        return FormDialect("template", form, control_texts)
    if pythonic is not None:
        return pythonic
    if (told := described(template, tuple(control_texts))) is not None:
        return told
    return GenericDialect(system=takes_system(template))


def _recognises(dialect: Dialect, template: str) -> bool:
    try:
        return dialect.recognises(template)
    except Exception:
        traceback.print_exc()  # to the runner's log
        return False
