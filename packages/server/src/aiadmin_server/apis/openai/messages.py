"""OpenAI's messages, as its clients send them, and core's made of them. Used by every endpoint that takes a
conversation."""

import base64
import binascii
from typing import Any, Literal, assert_never

from msgspec import Struct

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.content import AudioPart, ImagePart, Message, Part, TextPart, ToolCall, ToolResultPart


class CacheBreakpoint(Struct, frozen=True, kw_only=True):
    """Where a cached prefix may end. No effect: every prefix is cached."""

    mode: Literal["explicit"] = "explicit"


# Content parts.


class TextContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class RefusalContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    refusal: str


class ImageUrl(Struct, frozen=True, kw_only=True):
    url: str
    """`https://...`, or `data:<media type>;base64,...`."""
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImageContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    image_url: ImageUrl
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class InputAudio(Struct, frozen=True, kw_only=True):
    data: str
    """Base64."""
    format: Literal["wav", "mp3"]


class AudioContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_audio"):
    input_audio: InputAudio
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class FileContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="file"):
    file: dict[str, Any]
    prompt_cache_breakpoint: CacheBreakpoint | None = None


ContentPart = TextContent | ImageContent | AudioContent | FileContent | RefusalContent


# Messages, told apart by `role`.


class SystemMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="system"):
    content: str | list[ContentPart]
    name: str | None = None


class DeveloperMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="developer"):
    content: str | list[ContentPart]
    name: str | None = None


class UserMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="user"):
    content: str | list[ContentPart]
    name: str | None = None


class FunctionCall(Struct, frozen=True, kw_only=True):
    name: str
    arguments: str
    """JSON text."""


class FunctionToolCall(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    id: str
    function: FunctionCall
    index: int | None = None
    """Left over where a client keeps what it was streamed. No effect."""


class CustomToolCall(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    id: str
    custom: dict[str, Any]


class AssistantMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[FunctionToolCall | CustomToolCall] | None = None
    audio: dict[str, Any] | None = None
    function_call: dict[str, Any] | None = None
    annotations: list[Any] | None = None
    """Comes back in answers kept as they were. No effect."""
    reasoning_content: str | None = None
    reasoning: str | None = None
    """The same by its other name."""


class ToolMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    content: str | list[ContentPart]
    tool_call_id: str
    name: str | None = None


class FunctionMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="function"):
    content: str | None = None
    name: str | None = None


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


# To core.


def to_message(message: ChatMessage, path: str) -> Message:
    """One turn. `path` (`messages[3]`) names it in errors: `BadRequest`, `UnsupportedParameter`."""
    match message:
        case FunctionMessage():
            raise UnsupportedParameter(f"{path}.role", why="function messages were replaced by tool messages.")
        case SystemMessage():
            return Message(role="system", content=_parts(message.content, path), name=message.name)
        case DeveloperMessage():
            return Message(role="developer", content=_parts(message.content, path), name=message.name)
        case UserMessage():
            return Message(role="user", content=_parts(message.content, path), name=message.name)
        case ToolMessage():
            return Message(role="tool", content=(_tool_result(message, path),), name=message.name)
        case AssistantMessage():
            return _assistant(message, path)
        case _ as unreachable:
            assert_never(unreachable)


def _assistant(message: AssistantMessage, path: str) -> Message:
    if message.audio is not None:
        raise UnsupportedParameter(f"{path}.audio", why="no spoken answer is kept here.")
    if message.function_call is not None:
        raise UnsupportedParameter(f"{path}.function_call", why="it was replaced by 'tool_calls'.")
    if message.content is None and message.refusal is None and not message.tool_calls:
        raise BadRequest(f"'{path}' has neither 'content' nor 'tool_calls'.", param=f"{path}.content")
    calls: list[ToolCall] = []
    for index, call in enumerate(message.tool_calls or ()):
        if isinstance(call, CustomToolCall):
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


def _tool_result(message: ToolMessage, path: str) -> ToolResultPart:
    content: list[TextPart | ImagePart] = []
    for index, part in enumerate(_parts(message.content, path)):
        if not isinstance(part, TextPart | ImagePart):
            raise UnsupportedParameter(f"{path}.content[{index}]", why="a tool's result is text or images.")
        content.append(part)
    return ToolResultPart(tool_call_id=message.tool_call_id, content=tuple(content))


def _parts(content: str | list[ContentPart], path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{path}.content[{index}]") for index, part in enumerate(content))


def _part(part: ContentPart, path: str) -> Part:
    match part:
        case TextContent():
            return TextPart(part.text)
        case RefusalContent():
            return TextPart(part.refusal)
        case ImageContent():
            return _image(part.image_url, f"{path}.image_url.url")
        case AudioContent():
            audio = part.input_audio
            return AudioPart(data=_base64(audio.data, f"{path}.input_audio.data"), format=audio.format)
        case FileContent():
            raise UnsupportedParameter(path, why="files are not read.", hint="Send their text.")
        case _ as unreachable:
            assert_never(unreachable)


def _image(image: ImageUrl, path: str) -> ImagePart:
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
