"""What a dialect is: how a family of models writes what it thinks, and the tools it calls.

A `Dialect` knows one of the two or both (harmony). `find` picks them from the model's chat template; plugins offer
more by the hook `aiadmin_dialects`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..specs.content import Tool
from ..specs.request import ChatInput, ToolChoice


@dataclass(frozen=True)
class Thought:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, kw_only=True)
class CallPiece:
    """More of a tool call: a piece with a `name` begins the next call, pieces without one continue it."""

    name: str | None = None
    arguments: str = ""
    """JSON text, as the model writes it."""
    id: str | None = None
    """The model's own id for the call, beside `name`; None lets core make one."""


Piece = str | Thought | CallPiece
"""Text of the answer, a thought, or more of a call."""


class Parser(Protocol):
    """One choice's text, told apart as it comes. However it is cut, the pieces put together are the same; what cannot
    be read as a thought or a call is text of the answer, never an error."""

    @property
    def reasoning(self) -> bool:
        """Whether the model is thinking now."""

    @property
    def n_held(self) -> int:
        """Characters held back because they may be part of a marker, or of a call that has no name yet."""

    def feed(self, text: str) -> Sequence[Piece]:
        """What is certain with `text`, in the order the model wrote it; markers are left out."""

    def end(self, token: str) -> Sequence[Piece]:
        """What was held back, at the end of the answer. `token` is the text of the control token that ended it, ""
        where it was cut or nobody knows."""


@dataclass(frozen=True, kw_only=True)
class CallGrammar:
    """What a section of tool calls looks like, in llguidance's Lark. `constraint.answer` builds the whole answer's
    grammar around it."""

    opening: str
    """The marker a section begins with, as text; "" where calls begin the answer without one."""
    body: str
    """The rule expression of what follows the marker."""
    rules: tuple[str, ...] = ()
    """Definitions of the names in `body`, one each; they are prefixed by whatever keeps them apart from `start`,
    `answer` and `TEXT`."""
    separator: str | None = None
    """What stands between two sections; None where a section holds all calls."""
    auto: str | None = None
    """The rule expression of an answer that may, but need not, call; None has it made of text and sections."""


class Dialect:
    """The base of every dialect. The defaults are those of one that knows nothing: a dialect says what it knows by
    `reasoning` and `calls`, recognises its templates, and parses."""

    name: str = ""
    """For logs."""
    reasoning: bool = False
    """Whether its parsers tell thoughts."""
    calls: bool = False
    """Whether its parsers tell tool calls."""
    markers: Sequence[str] = ()
    """The texts around thoughts and calls that may be control tokens of the model: parsers see them as text."""

    answer_header: str = ""
    """What stands before an answer that is kept to a format, as text."""

    def recognises(self, template: str) -> bool:
        """Whether the chat template `template` is of this family."""
        raise NotImplementedError

    def rewrite(self, chat: ChatInput) -> ChatInput:
        """The conversation as the template is to see it, with the tools the model is shown. On a worker thread."""
        return chat

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> Parser:
        """A parser for one choice, which answers a prompt that ends in `prompt_tail`; `tools` may be called, none
        where no calls are to be told apart."""
        raise NotImplementedError

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        """What may stand before an answer that is kept to a format: a Lark grammar whose `start` ends in `@answer`;
        None where nothing may."""
        return None

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        """A section of calls of `tools` (those `choice` allows) and nothing else; None where this cannot be said, and
        a choice that has to be enforced is refused. `control_tokens` are the model's: `constraint.lark` writes them
        into a grammar. On a worker thread."""
        return None


class PlainText:
    """The parser of models without a dialect: everything is the answer."""

    reasoning = False
    n_held = 0

    def feed(self, text: str) -> Sequence[Piece]:
        return [text] if text else []

    def end(self, token: str) -> Sequence[Piece]:
        return []
