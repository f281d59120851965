"""What a conversation is made of: messages, each a tuple of typed parts."""

from typing import Literal

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]


class TextPart(Struct, frozen=True, tag="text"):
    """Plain text. It never becomes a control token, whatever it spells."""

    text: str


class ImagePart(Struct, frozen=True, kw_only=True, tag="image"):
    """An image: its bytes, or the URL they are to be fetched from before rendering."""

    data: bytes = b""
    media_type: str = ""
    url: str | None = None
    detail: str | None = None
    """How closely to look ("low", "high", "auto"), where the model can choose."""


class AudioPart(Struct, frozen=True, kw_only=True, tag="audio"):
    """A sound clip."""

    data: bytes
    format: str
    """Container name as OpenAI spells it: "wav", "mp3", ..."""


class ToolResultPart(Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool returned for the call with this id."""

    tool_call_id: str
    content: tuple[TextPart | ImagePart, ...]
    is_error: bool = False


Part = TextPart | ImagePart | AudioPart | ToolResultPart


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call the assistant made in an earlier turn."""

    id: str
    name: str
    arguments: str
    """JSON text, exactly as the model wrote it."""


class Tool(Struct, frozen=True, kw_only=True):
    """A function the model may call."""

    name: str
    description: str = ""
    parameters: dict[str, object] | None = None
    """JSON schema of its arguments."""
    strict: bool = False
    text_grammar: str | None = None
    """Lark, in llguidance's dialect, that the text in its only argument, `input`, keeps to; None asks nothing of it."""


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn."""

    role: Role
    content: tuple[Part, ...] = ()
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    """What the assistant thought before it answered, kept apart from the answer."""


def plain_text(content: tuple[Part, ...]) -> str:
    """The text of `content`, its other parts left out; a tool result counts with its text."""
    pieces: list[str] = []
    for part in content:
        if isinstance(part, TextPart):
            pieces.append(part.text)
        elif isinstance(part, ToolResultPart):
            pieces.append(plain_text(part.content))
    return "".join(pieces)
