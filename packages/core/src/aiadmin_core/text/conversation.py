"""`Message`s as the plain dicts that chat templates read. Pure; used by `chat_template`.

Every string that came with the request passes through a `mark` function on its way; what these functions write
themselves (roles, types, keys) does not.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart, plain_text

Mark = Callable[[str], str]
_SYSTEM = ("system", "developer")


def unmarked(text: str) -> str:
    """The `Mark` that changes nothing."""
    return text


@dataclass(frozen=True, kw_only=True)
class TemplateShape:
    """How one template wants a conversation written."""

    content_parts: bool = False
    """Content is a list of `{"type": "text", "text": ...}`, not a string."""
    arguments_text: bool = False
    """Arguments of tool calls are JSON text, not objects."""
    developer_role: bool = False
    """The template knows the role "developer"; to others it is "system"."""
    no_content: bool = False
    """A message that only calls tools has no content at all, not an empty one."""
    tools_list: bool = False
    """`tools` is a list even where there are none; most templates test for None."""


def to_dicts(messages: Iterable[Message], shape: TemplateShape, mark: Mark = unmarked) -> list[dict[str, Any]]:
    """The conversation in `shape`. A message that carries several tool results becomes one message for each."""
    dicts: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of called tools, by call id: templates want them with the results
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls)
        results = [part for part in message.content if isinstance(part, ToolResultPart)]
        others = tuple(part for part in message.content if not isinstance(part, ToolResultPart))
        for result in results:
            name = message.name or names.get(result.tool_call_id)
            dicts.append(_tool_result(result, name, shape, mark))
        if others or not results:
            dicts.append(_message(message, plain_text(others), shape, mark))
    return dicts


def tools_to_dicts(tools: Sequence[Tool], shape: TemplateShape, mark: Mark = unmarked) -> list[dict[str, Any]] | None:
    """Tools as OpenAI writes them."""
    if not tools and not shape.tools_list:
        return None
    return [_tool(tool, mark) for tool in tools]


def with_own(messages: tuple[Message, ...], system: str | None, own: tuple[Message, ...] = ()) -> tuple[Message, ...]:
    """`messages` behind the model's `own`, and behind its `system` message where they bring none."""
    n_system = next((index for index, message in enumerate(messages) if message.role not in _SYSTEM), len(messages))
    opening, rest = messages[:n_system], messages[n_system:]
    if system and not any(message.role in _SYSTEM for message in (*messages, *own)):
        opening = (Message(role="system", content=(TextPart(system),)),)
    return (*opening, *own, *rest)


def marked(value: Any, mark: Mark) -> Any:
    """A JSON-like value with `mark` applied to every string in it, keys included."""
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, Mapping):
        return {marked(key, mark): marked(item, mark) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [marked(item, mark) for item in value]
    return value


def _message(message: Message, text: str, shape: TemplateShape, mark: Mark) -> dict[str, Any]:
    role = "system" if message.role == "developer" and not shape.developer_role else message.role
    content = None if shape.no_content and message.tool_calls and not text else _content(mark(text), shape)
    result: dict[str, Any] = {"role": role, "content": content}
    if message.name is not None:
        result["name"] = mark(message.name)
    if message.tool_calls:
        result["tool_calls"] = [_tool_call(call, shape, mark) for call in message.tool_calls]
    if message.reasoning is not None:  # templates do not agree on its name
        result["reasoning_content"] = result["reasoning"] = result["thinking"] = mark(message.reasoning)
    return result


def _tool_result(result: ToolResultPart, name: str | None, shape: TemplateShape, mark: Mark) -> dict[str, Any]:
    return {
        "role": "tool",
        "content": _content(mark(plain_text(result.content)), shape),
        "tool_call_id": mark(result.tool_call_id),
        **({"name": mark(name)} if name else {}),
    }


def _content(text: str, shape: TemplateShape) -> str | list[dict[str, str]]:
    return [{"type": "text", "text": text}] if shape.content_parts else text


def _tool_call(call: ToolCall, shape: TemplateShape, mark: Mark) -> dict[str, Any]:
    function = {"name": mark(call.name), "arguments": marked(_arguments(call.arguments, shape), mark)}
    return {"id": mark(call.id), "type": "function", "function": function}


def _arguments(text: str, shape: TemplateShape) -> Any:
    if shape.arguments_text:
        return text
    try:
        return json.loads(text or "{}")
    except ValueError:  # a model wrote it; the template gets what there is
        return text


def _tool(tool: Tool, mark: Mark) -> dict[str, Any]:
    parameters = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    function = {
        "name": mark(tool.name),
        "description": mark(tool.description),
        "parameters": marked(parameters, mark),
    }
    return {"type": "function", "function": function}
