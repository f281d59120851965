"""A conversation as Ollama's clients send it, to core's messages. Pure; used by `to_core`.

Calls have no ids in many of them, and results say at most the tool's name: a result then belongs to the first call of
the messages before it that has none yet.
"""

from collections.abc import Sequence
from typing import cast, get_args

import msgspec

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.content import ImagePart, Message, Part, Role, TextPart, ToolCall, ToolResultPart

from ....serving.call import portable
from ..media import media_parts
from . import wire

_ROLES = get_args(Role)


def to_messages(messages: Sequence[wire.ChatMessage]) -> tuple[Message, ...]:
    """Raises `BadRequest` naming what cannot be read."""
    due: dict[str, str] = {}  # calls without a result: their ids, and the tools' names
    found: list[Message] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = _role(message.role, path)
        if role == "tool":
            found.append(_result(message, due, path))
            continue
        calls = tuple(
            _call(call, f"{path}.tool_calls[{n}]", index, n) for n, call in enumerate(message.tool_calls or ())
        )
        due |= {call.id: call.name for call in calls}
        found.append(
            Message(role=role, content=_content(message, path), tool_calls=calls, reasoning=message.thinking or None)
        )
    return tuple(found)


def _role(text: str, path: str) -> Role:
    role = text.lower()
    if role not in _ROLES:
        known = ", ".join(f"'{name}'" for name in _ROLES)
        raise BadRequest(f"'{path}.role' must be one of {known}, not '{text[:40]}'.", param=f"{path}.role")
    return cast(Role, role)


def _content(message: wire.ChatMessage, path: str) -> tuple[Part, ...]:
    media = media_parts(message.images, f"{path}.images")
    text = message.content or ""
    return (*media, TextPart(text)) if text or not (media or message.tool_calls) else media


def _call(call: wire.Call, path: str, index: int, n: int) -> ToolCall:
    arguments = portable(call.function.arguments or {}, f"{path}.function.arguments")
    text = msgspec.json.encode(arguments).decode()
    return ToolCall(id=call.id or f"call_{index}_{n}", name=call.function.name, arguments=text)


def _result(message: wire.ChatMessage, due: dict[str, str], path: str) -> Message:
    name = message.tool_name or message.name
    named = (call for call, tool in due.items() if name in (None, tool))
    call_id = message.tool_call_id or next(named, "") or f"call_{name or 'tool'}"
    name = name or due.get(call_id)
    due.pop(call_id, None)
    content: list[TextPart | ImagePart] = []
    for part in _content(message, path):
        if not isinstance(part, TextPart | ImagePart):
            raise UnsupportedParameter(f"{path}.images", why="a tool's result is text or images.")
        content.append(part)
    return Message(role="tool", content=(ToolResultPart(tool_call_id=call_id, content=tuple(content)),), name=name)
