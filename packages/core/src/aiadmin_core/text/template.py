"""A chat template, in whichever of the two languages that models bring them in. Used by `assemble`, once a model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from ..errors import BadRequest
from ..specs.content import Message, Tool
from .conversation import Mark, unmarked

Language = Literal["jinja", "go"]


class Template(Protocol):
    """Writes conversations as a model's prompts. Thread-safe."""

    @property
    def source(self) -> str:
        """As it came."""

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Mapping[str, Any] | None = None,
        *,
        mark: Mark = unmarked,
        opens: bool = True,
    ) -> str:
        """The prompt up to where the assistant begins; up to the end of the last message unless `opens`. `options` are
        extra variables; ours win over them. `mark` is applied to every string that came with the request.

        Raises `BadRequest` with what the template said, or with why it could not be rendered.
        """

    def refused_option(self, options: Mapping[str, Any]) -> str | None:
        """The first of `options` that a caller cannot set."""


def language_of(source: str) -> Language:
    """Hugging Face's models bring Jinja, those of Ollama's layout Go's text/template. Pure."""
    return "go" if "{%" not in source and _ACTION.search(source) else "jinja"


def read_template(source: str, *, bos: str = "", eos: str = "") -> Template:
    """`source` compiled; `bos` and `eos` are the texts of these tokens, "" without one. Raises `BadRequest`."""
    if language_of(source) == "go":
        from .go_template.chat import GoChatTemplate

        return GoChatTemplate(source)
    from .chat_template import ChatTemplate

    return ChatTemplate(source, bos=bos, eos=eos)


def go_template(source: str) -> Template:
    """A template that came with a request: in Go's language, whose programs end. Raises `BadRequest`."""
    from .go_template.chat import GoChatTemplate

    if language_of(source) != "go":
        raise BadRequest(
            "A request's template is in Go's language: {{ .System }}, {{ .Prompt }}, {{ range .Messages }}.",
            hint="A Jinja template belongs to a model: `aiadmin create` with a TEMPLATE line.",
            param="template",
        )
    try:
        return GoChatTemplate(source)
    except BadRequest as error:
        raise BadRequest(error.message, hint=error.hint, param="template") from None


_ACTION = re.compile(
    r"\{\{-?\s*(?:[.$]|/\*|(?:if|range|with|end|else|define|template|block|break|continue|eq|and|or|not|json|slice|len|"
    r"index|printf?|println|currentDate)\b|\w+\s+[.$\"])(?![^{}]*\bis\b)"
)
"""An action that is none of Jinja's expressions."""
