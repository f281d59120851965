"""OpenAI's messages to core's. Used by `to_core` only."""

import base64
import binascii
from typing import assert_never

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.content import AudioPart, ImagePart, Message, Part, TextPart, ToolCall, ToolResultPart

from .chat import wire


def to_message(message: wire.ChatMessage, path: str) -> Message:
    """One turn. `path` (`messages[3]`) names it in errors: `BadRequest`, `UnsupportedParameter`."""
    match message:
        case wire.FunctionMessage():
            raise UnsupportedParameter(f"{path}.role", why="function messages were replaced by tool messages.")
        case wire.SystemMessage():
            return Message(role="system", content=_parts(message.content, path), name=message.name)
        case wire.DeveloperMessage():
            return Message(role="developer", content=_parts(message.content, path), name=message.name)
        case wire.UserMessage():
            return Message(role="user", content=_parts(message.content, path), name=message.name)
        case wire.ToolMessage():
            return Message(role="tool", content=(_tool_result(message, path),), name=message.name)
        case wire.AssistantMessage():
            return _assistant(message, path)
        case _ as unreachable:
            assert_never(unreachable)


def _assistant(message: wire.AssistantMessage, path: str) -> Message:
    if message.audio is not None:
        raise UnsupportedParameter(f"{path}.audio", why="no spoken answer is kept here.")
    if message.function_call is not None:
        raise UnsupportedParameter(f"{path}.function_call", why="it was replaced by 'tool_calls'.")
    if message.content is None and message.refusal is None and not message.tool_calls:
        raise BadRequest(f"'{path}' has neither 'content' nor 'tool_calls'.", param=f"{path}.content")
    calls: list[ToolCall] = []
    for index, call in enumerate(message.tool_calls or ()):
        if isinstance(call, wire.CustomToolCall):
            raise UnsupportedParameter(f"{path}.tool_calls[{index}].type", why="custom tools are not; functions are.")
        calls.append(ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments))
    refusal = () if message.refusal is None else (TextPart(message.refusal),)
    return Message(
        role="assistant",
        content=_parts(message.content or [], path) + refusal,
        name=message.name,
        tool_calls=tuple(calls),
        reasoning=message.reasoning_content or message.reasoning,
    )


def _tool_result(message: wire.ToolMessage, path: str) -> ToolResultPart:
    content: list[TextPart | ImagePart] = []
    for index, part in enumerate(_parts(message.content, path)):
        if not isinstance(part, TextPart | ImagePart):
            raise UnsupportedParameter(f"{path}.content[{index}]", why="a tool's result is text or images.")
        content.append(part)
    return ToolResultPart(tool_call_id=message.tool_call_id, content=tuple(content))


def _parts(content: str | list[wire.ContentPart], path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{path}.content[{index}]") for index, part in enumerate(content))


def _part(part: wire.ContentPart, path: str) -> Part:
    match part:
        case wire.TextContent():
            return TextPart(part.text)
        case wire.RefusalContent():
            return TextPart(part.refusal)
        case wire.ImageContent():
            return _image(part.image_url, f"{path}.image_url.url")
        case wire.AudioContent():
            audio = part.input_audio
            return AudioPart(data=_base64(audio.data, f"{path}.input_audio.data"), format=audio.format)
        case wire.FileContent():
            raise UnsupportedParameter(path, why="files are not read.", hint="Send their text.")
        case _ as unreachable:
            assert_never(unreachable)


def _image(image: wire.ImageUrl, path: str) -> ImagePart:
    scheme, _, rest = image.url.partition(":")
    if scheme.lower() in ("http", "https"):
        return ImagePart(url=image.url, detail=image.detail)
    header, separator, data = rest.partition(",")
    media_type, *options = header.split(";")
    if scheme.lower() != "data" or not separator or "base64" not in options:
        raise BadRequest(f"'{path}' must be an http(s) URL or 'data:<media type>;base64,...'.", param=path)
    return ImagePart(data=_base64(data, path), media_type=media_type, detail=image.detail)


def _base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"'{path}' is not valid base64: {error}.", param=path) from None
