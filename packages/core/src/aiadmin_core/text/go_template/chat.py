"""A chat template in Go's language, as model folders of Ollama's layout carry them. Used as a `ChatTemplate` is.

There are two kinds. Today's go through `.Messages` themselves. The older ones write one exchange, of `.System`,
`.Prompt` and `.Response`, and are written anew for each; the last one ends where the answer begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import BadRequest
from ...specs.content import Message, Tool
from ..conversation import Mark, TemplateShape, marked, to_dicts, tools_to_dicts, unmarked
from .errors import GoTemplateError
from .evaluate import evaluate
from .functions import NAMES
from .nodes import Action, Operand, Pipe, Template
from .parser import parse
from .reading import before_answer, names
from .variables import message_records, tool_records

_RESPONSE = Action(Pipe(((Operand(".", ("Response",), 0),),)))
_OWNED = ("Messages", "Tools", "System", "Prompt", "Response", "Suffix", "Think", "ThinkLevel", "IsThinkSet")


class GoChatTemplate:
    """One template. Thread-safe. Raises `BadRequest` where `source` cannot be read."""

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            template = parse(source, NAMES)
        except GoTemplateError as error:
            raise BadRequest(
                f"The model's chat template, which is in Go's language, cannot be read: {error}.",
                hint="Correct the template, or give the model another one.",
                param="messages",
            ) from error
        found = names(template)
        self._takes_messages = "messages" in found
        self.infills = "suffix" in found
        """Whether it can ask for what stands between two texts."""
        if not self._takes_messages and "response" not in found:
            template = Template((*template.nodes, _RESPONSE), template.defined)
        self._template = template
        self._begun = Template(before_answer(template.nodes), template.defined)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Mapping[str, Any] | None = None,
        *,
        mark: Mark = unmarked,
        opens: bool = True,  # noqa: ARG002 - the template itself leaves an assistant's last message open, or does not
    ) -> str:
        """See `ChatTemplate.render`."""
        given = dict(options or {})
        common = _thinking(given) | {name: marked(value, mark) for name, value in given.items()}
        try:
            dicts = to_dicts(messages, TemplateShape(), mark)
            if self._takes_messages:
                return evaluate(self._template, common | _conversation(dicts, tools_to_dicts(tools, _LISTED, mark)))
            *former, last = _exchanges(dicts)
            texts = [evaluate(self._template, common | exchange) for exchange in former]
            return "".join([*texts, evaluate(self._begun, common | last)])
        except (GoTemplateError, RecursionError) as error:
            raise BadRequest(
                f"The model's chat template cannot render this conversation: {error}", param="messages"
            ) from error

    def infill(self, prompt: str, suffix: str) -> str:
        """The prompt that asks for what stands between the two. Raises `BadRequest`."""
        try:
            return evaluate(self._template, {"Prompt": prompt, "Suffix": suffix, "Response": ""})
        except GoTemplateError as error:
            raise BadRequest(f"The model's template cannot render this: {error}", param="suffix") from error

    def refused_option(self, options: Mapping[str, Any]) -> str | None:
        """The first of `options` that is not the caller's to set."""
        return next((name for name in options if name in _OWNED), None)


_LISTED = TemplateShape(tools_list=True)


def _thinking(options: Mapping[str, Any]) -> dict[str, Any]:
    """Whether to think, as core says it, in the words of these templates."""
    effort, thinks = options.get("reasoning_effort"), options.get("enable_thinking")
    thinks = effort != "none" if thinks is None and effort is not None else thinks
    return {
        "Think": bool(thinks),
        "ThinkLevel": effort if thinks and isinstance(effort, str) else "",
        "IsThinkSet": thinks is not None,
    }


def _conversation(dicts: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    records = message_records(dicts)
    system = [message["content"] for message in dicts if message["role"] == "system"]
    return {
        "System": "\n\n".join(system),
        "Messages": records,
        "Tools": tool_records(tools or ()),
        "Response": "",
    }


def _exchanges(dicts: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """System message, question and answer, each with as many as there are; the last may lack its answer."""
    exchange = dict(_EMPTY)
    for record in message_records(dicts):
        role, content = record.fields["Role"], record.fields["Content"]
        if (role == "system" and (exchange["Prompt"] or exchange["Response"])) or (
            role == "user" and exchange["Response"]
        ):
            yield exchange
            exchange = dict(_EMPTY)
        if role in _PARTS:
            exchange[_PARTS[role]] = content
    yield exchange


_EMPTY = {"System": "", "Prompt": "", "Response": ""}
_PARTS = {"system": "System", "user": "Prompt", "assistant": "Response"}
