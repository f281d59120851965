"""Calls on models whose template knows nothing of tools, or does not say how it writes calls: the system message says
how, in the form that most models have seen (Hermes's), and calls and results in the history are written as text.
"""

import json
from collections.abc import Iterable

import msgspec

from ...specs.content import Message, TextPart, Tool, ToolResultPart, plain_text
from ...specs.request import ChatInput
from .form import CallForm
from .template import FormDialect

HERMES = CallForm(
    begin="", head='<tool_call>\n{"name": "', mid='", "arguments": ', tail="}\n</tool_call>", separator="\n"
)
_INSTRUCTIONS = """# Tools

You may call functions to help with the user's request. They are given as JSON schemas:
<tools>
{tools}
</tools>

To call a function, write a JSON object with its name and arguments between these tags, and wait for the response:
<tool_call>
{{"name": <name>, "arguments": <arguments>}}
</tool_call>"""


class GenericDialect(FormDialect):
    """See the module. Without `system` messages the instructions stand before the first thing the user says."""

    def __init__(self, *, system: bool = True) -> None:
        super().__init__("generic", HERMES)
        self._system = system

    def rewrite(self, chat: ChatInput) -> ChatInput:
        if not chat.tools and not any(_is_about_tools(message) for message in chat.messages):
            return chat
        messages = tuple(_joined(_as_text(message) for message in chat.messages))
        if chat.tools:
            instructions = _INSTRUCTIONS.format(tools="\n".join(map(_described, chat.tools)))
            messages = _with_instructions(messages, instructions, system=self._system)
        return msgspec.structs.replace(chat, messages=messages, tools=())


def _is_about_tools(message: Message) -> bool:
    return bool(message.tool_calls) or any(isinstance(part, ToolResultPart) for part in message.content)


def _described(tool: Tool) -> str:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters or {}}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)


def _as_text(message: Message) -> Message:
    if message.tool_calls:
        calls = [
            f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}\n</tool_call>'
            for call in message.tool_calls
        ]
        text = "\n".join([one for one in (plain_text(message.content),) if one] + calls)
        return msgspec.structs.replace(message, content=(TextPart(text),), tool_calls=())
    if any(isinstance(part, ToolResultPart) for part in message.content):
        text = f"<tool_response>\n{plain_text(message.content)}\n</tool_response>"
        return Message(role="user", content=(TextPart(text),))
    return message


def _joined(messages: Iterable[Message]) -> list[Message]:
    """Results of several calls, and what the user says next, are one turn: templates may insist on that."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is not None and last.role == message.role == "user" and last.name == message.name:
            content = (*last.content, TextPart("\n"), *message.content)
            joined[-1] = msgspec.structs.replace(last, content=content)
        else:
            joined.append(message)
    return joined


def _with_instructions(messages: tuple[Message, ...], instructions: str, *, system: bool) -> tuple[Message, ...]:
    first = messages[0]
    if not system and first.role == "user":
        content = (TextPart(f"{instructions}\n\n"), *first.content)
        return (msgspec.structs.replace(first, content=content), *messages[1:])
    if first.role in ("system", "developer"):
        content = (*first.content, TextPart(f"\n\n{instructions}"))
        return (msgspec.structs.replace(first, content=content), *messages[1:])
    return (Message(role="system", content=(TextPart(instructions),)), *messages)
