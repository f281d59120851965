"""A model's chat template: compiled once, its habits found out by trial, rendered for each conversation.

Used by `prompt`. Thread-safe after construction. Nothing here knows about tokens: what may become a control token is
decided in `control_tokens`.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jinja2 import Template, TemplateError, meta

from ..errors import BadRequest
from ..specs.content import Message, TextPart, Tool, ToolCall
from .conversation import Mark, TemplateShape, marked, to_dicts, tools_to_dicts, unmarked
from .sandbox import TemplateRefused, environment, to_json

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For models that bring no template: the most widely trained format."""
CHATML_END = "<|im_end|>"
"""Ends a turn in `CHATML`."""


class ChatTemplate:
    """One template and how it wants conversations written.

    `bos` and `eos` are the texts of these tokens, "" without one. Raises `BadRequest` where `source` is no template.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template: Template = environment().from_string(source)
            self._wanted = meta.find_undeclared_variables(environment().parse(source))
        except TemplateError as error:
            raise BadRequest(
                f"The model's chat template cannot be compiled: {error}.",
                hint="Give the model another template, or use the completions endpoint.",
                param="messages",
            ) from error
        self.shape = TemplateShape()
        self.shape = self._find_shape()

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
        try:
            variables = self._variables(messages, tools, options or {}, mark)
            return self._template.render(variables | {"add_generation_prompt": opens})
        except TemplateRefused as error:
            raise BadRequest(f"The model's chat template says: {error}", param="messages") from error
        except Exception as error:  # a template may do anything, and arguments may be nested too deep
            raise BadRequest(
                f"The model's chat template cannot render this conversation: {type(error).__name__}: {error}",
                param="messages",
            ) from error

    def refused_option(self, options: Mapping[str, Any]) -> str | None:
        """The first of `options` that a caller cannot set: it is the conversation's, the tokenizer's or Jinja's own,
        and asks for something else than is done anyway."""
        done = {"add_generation_prompt": True, "continue_final_message": False, "tokenize": False}
        owned = {*done, *self._tokens, *_OWNED, *self._template.environment.globals}
        return next((name for name in options if name in owned and options[name] is not done.get(name, _NEEDLE)), None)

    def _variables(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Mapping[str, Any], mark: Mark
    ) -> dict[str, Any]:
        variables: dict[str, Any] = {"documents": None}
        variables.update((name, marked(value, mark)) for name, value in options.items())
        variables.update(self._tokens)
        variables["messages"] = to_dicts(messages, self.shape, mark)
        variables["tools"] = tools_to_dicts(tools, self.shape, mark)
        if "functions" in self._wanted and "tools" not in self._wanted:  # Firefunction's, which are JSON text
            functions = [tool["function"] for tool in variables["tools"] or ()]
            variables.setdefault("functions", to_json(functions, indent=4))
        if "datetime" in self._wanted:
            variables.setdefault("datetime", time.strftime("%Y-%m-%d %H:%M:%S"))
        return variables

    def _find_shape(self) -> TemplateShape:
        """Templates do not say what they expect: render small conversations and look what arrives."""
        shape = TemplateShape(developer_role="developer" in self.source)
        asks = Message(role="user", content=(TextPart(_NEEDLE),))
        listed = replace(shape, tools_list=True)
        parts, listed_parts = replace(shape, content_parts=True), replace(listed, content_parts=True)
        shape = self._first_that_shows([asks], shape, parts, listed, listed_parts)
        call = ToolCall(id="call00001", name="f", arguments=json.dumps({"a": _NEEDLE}))
        answers = Message(role="assistant", tool_calls=(call,))
        question = Message(role="user", content=(TextPart("?"),))
        empty = replace(shape, no_content=True)
        shapes = [one for base in (shape, empty) for one in (base, replace(base, arguments_text=True))]
        return self._first_that_shows([question, answers], *shapes)

    def _first_that_shows(self, messages: Sequence[Message], *shapes: TemplateShape) -> TemplateShape:
        """The first shape in which the needle in `messages` reaches the prompt, or else the first."""
        for self.shape in shapes:
            with suppress(BadRequest):
                if _NEEDLE in self.render(messages):
                    return self.shape
        return shapes[0]


_OWNED = ("messages", "tools", "chat_template", "return_dict", "return_tensors", "padding", "truncation", "max_length")
"""Variables that the conversation fills, and arguments of `apply_chat_template` that are none."""
_NEEDLE = "N33dle"
