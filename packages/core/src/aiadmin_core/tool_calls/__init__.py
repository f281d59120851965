"""How models write tool calls: one dialect for each family of models, offered by plugins (`aiadmin_tool_dialects`).

`assemble` picks the first dialect that recognises a model's chat template. Without one, `Capabilities.tools` is False
and `tools` are refused by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..specs.constraint import Constraint
from ..specs.content import Tool
from ..specs.request import ToolChoice


@dataclass(frozen=True, kw_only=True)
class CallPiece:
    """More of a tool call: a piece with a `name` begins the next call, pieces without one continue it."""

    name: str | None = None
    arguments: str = ""
    """JSON text, as the model writes it."""
    id: str | None = None
    """The model's own id for the call, beside `name`; None lets core make one."""


Parsed = Sequence[str | CallPiece]
"""Text of the answer and pieces of calls, in the order the model wrote them."""


class ToolCallParser(Protocol):
    """One choice's answer, its tool calls told apart from its text as they come. However the answer is cut, the
    pieces put together are the same; what cannot be read as a call is text, never an error."""

    @property
    def held(self) -> str:
        """What is held back because it may be part of a marker, or of a call that has no name yet."""

    def feed(self, text: str) -> Parsed:
        """What is certain with `text`; markers are left out."""

    def flush(self) -> Parsed:
        """What was held back, at the end."""


class ToolDialect(Protocol):
    """How a family of models writes tool calls. May offer `EnforcesToolChoice` too."""

    @property
    def name(self) -> str:
        """For logs."""

    @property
    def markers(self) -> Sequence[str]:
        """The texts around calls that may be control tokens of the model: the parser sees them as text."""

    def recognises(self, template: str) -> bool:
        """Whether the chat template `template` is of this family."""

    def parser(self) -> ToolCallParser:
        """A parser for one choice."""


@runtime_checkable
class EnforcesToolChoice(Protocol):
    """Optional for a `ToolDialect`: calls that have to come, or may only be of some tools, or keep to a schema."""

    def constraint(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> Constraint | None:
        """What the answer must look like so that it calls nothing but `tools` (those `choice` allows), and at least
        one of them with "required"; None where this cannot be said, and the request is refused.

        Called on a worker thread. `control_tokens` are the model's: `constraint.lark` writes them into a grammar.
        """
