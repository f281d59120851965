"""How models write tool calls, one dialect for each family; plugins add theirs by `aiadmin_tool_dialects`.

No dialect is registered yet: `Capabilities.tools` stays False and `tools` are refused by name.
"""

from collections.abc import Sequence
from typing import Protocol

from ..specs.content import Tool
from ..specs.events import ToolCallDelta
from ..specs.request import ToolChoice


class ToolCallParser(Protocol):
    """One choice's answer, its tool calls told apart from its text as they come."""

    def feed(self, text: str) -> tuple[str, Sequence[ToolCallDelta]]:
        """The text that is certainly no tool call, and what became known about the calls."""

    def flush(self) -> tuple[str, Sequence[ToolCallDelta]]:
        """What was held back, at the end."""


class ToolDialect(Protocol):
    """How a family of models writes tool calls."""

    name: str

    def recognises(self, template: str) -> bool:
        """Whether the chat template `template` is of this family."""

    def grammar(self, tools: Sequence[Tool], choice: ToolChoice) -> str | None:
        """A Lark grammar that keeps an answer to calls of `tools`, or None where nothing needs to be enforced."""

    def parser(self, request_id: int, choice: int) -> ToolCallParser:
        """A parser for one choice."""
