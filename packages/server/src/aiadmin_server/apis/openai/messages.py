"""OpenAI's messages, as its clients send them, and core's made of them. Used by every endpoint that takes a
conversation."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Literal, assert_never

from msgspec import Struct

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.content import AudioPart, ImagePart, Message, Part, TextPart, ToolCall, ToolResultPart

from . import custom


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


class CustomCall(Struct, frozen=True, kw_only=True):
    name: str
    input: str


class CustomToolCall(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    id: str
    custom: CustomCall
    index: int | None = None
    """As that of a `FunctionToolCall`."""


class AssistantMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[FunctionToolCall | CustomToolCall] | None = None
    audio: dict[str, Any] | None = None
    function_call: FunctionCall | None = None
    """What `tool_calls` replaced: one call without an id, answered by a function message."""
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
    name: str
    content: str | None = None


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


# To core.


def to_messages(messages: Sequence[ChatMessage], path: str) -> tuple[Message, ...]:
    """A conversation. `path` names it in errors: `BadRequest`, also where a call has no result right after it or a
    result no call, and `UnsupportedParameter`."""
    check_results(messages, path)
    return tuple(_message(message, f"{path}[{index}]") for index, message in enumerate(messages))


def check_results(messages: Sequence[ChatMessage], path: str) -> None:
    """Raises `BadRequest` unless the calls of each message are answered by the messages right after it, in any order;
    instructions may stand between.

    Ids have to differ within one message only: many a server counts them anew in every answer.
    """
    due: dict[str, str] = {}  # what has to be answered, and the path of its call
    for index, message in enumerate(messages):
        here = f"{path}[{index}]"
        if isinstance(message, SystemMessage | DeveloperMessage):
            continue
        answered = _answered(message)
        if answered is None:
            _refuse_due(due, f"before '{here}'")
            due = _due(message, here)
        elif due.pop(answered, None) is None:
            field = "name" if isinstance(message, FunctionMessage) else "tool_call_id"
            raise BadRequest(
                f"'{here}.{field}' answers no call: there is none like it in the assistant's message before.",
                hint="Results follow the assistant's message with their calls.",
                param=f"{here}.{field}",
            )
    _refuse_due(due, "at the end")


def _answered(message: ChatMessage) -> str | None:
    """The call that `message` is the result of."""
    if isinstance(message, ToolMessage):
        return message.tool_call_id
    if isinstance(message, FunctionMessage):
        return _legacy_id(message.name)
    return None


def _due(message: ChatMessage, here: str) -> dict[str, str]:
    if not isinstance(message, AssistantMessage):
        return {}
    due: dict[str, str] = {}
    if message.function_call is not None:
        due[_legacy_id(message.function_call.name)] = f"{here}.function_call"
    for n, call in enumerate(message.tool_calls or ()):
        if call.id in due:
            raise BadRequest(
                f"'{here}.tool_calls[{n}].id' is that of another call of the message.",
                param=f"{here}.tool_calls[{n}].id",
            )
        due[call.id] = f"{here}.tool_calls[{n}].id"
    return due


def _refuse_due(due: dict[str, str], where: str) -> None:
    if due:
        path = next(iter(due.values()))
        raise BadRequest(
            f"'{path}' has no result: a message that answers the call is missing {where}.",
            hint="Add it, or leave the call out.",
            param=path,
        )


def _legacy_id(name: str) -> str:
    """Of a call that has none, and of its result."""
    return f"call_{name}"


def _message(message: ChatMessage, path: str) -> Message:
    match message:
        case FunctionMessage():
            result = ToolResultPart(tool_call_id=_legacy_id(message.name), content=(TextPart(message.content or ""),))
            return Message(role="tool", content=(result,), name=message.name)
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
    calls = [_call(call) for call in message.tool_calls or ()]
    if message.function_call is not None:
        call = message.function_call
        calls.append(ToolCall(id=_legacy_id(call.name), name=call.name, arguments=call.arguments))
    if message.content is None and message.refusal is None and not calls:
        raise BadRequest(f"'{path}' has neither 'content' nor 'tool_calls'.", param=f"{path}.content")
    refusal = () if message.refusal is None else (TextPart(message.refusal),)
    return Message(
        role="assistant",
        content=_parts(message.content or [], path) + refusal,
        name=message.name,
        tool_calls=tuple(calls),
        reasoning=message.reasoning_content or message.reasoning,
    )


def _call(call: FunctionToolCall | CustomToolCall) -> ToolCall:
    if isinstance(call, CustomToolCall):
        return ToolCall(id=call.id, name=call.custom.name, arguments=custom.wrapped(call.custom.input))
    return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)


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
