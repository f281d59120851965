"""What Ollama's clients send to `/api/chat` and are sent back, with Ollama's own field names.

Optional fields of requests are `| None = None`, so that JSON null means absent. In replies a field that may be missing
is `UNSET`.
"""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from ..answering import Logprob, Metrics
from ..asking import Asking

# Requests.


class CalledFunction(Struct, frozen=True, kw_only=True):
    name: str
    arguments: dict[str, Any] | None = None
    index: int | None = None
    """Left over where a client keeps what it was sent. No effect."""
    description: str | None = None
    """The same."""


class Call(Struct, frozen=True, kw_only=True):
    """A call that the assistant made in an earlier turn."""

    function: CalledFunction
    id: str | None = None
    type: Literal["function"] | None = None


class ChatMessage(Struct, frozen=True, kw_only=True):
    role: str
    """`system`, `user`, `assistant` or `tool`, in whatever case."""
    content: str | None = None
    images: list[str] | None = None
    """Base64, of images or of sound."""
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    """Which call this is the result of; without it, the first without a result that has the name, or any."""
    tool_name: str | None = None
    name: str | None = None
    """The same by an older name, where the role is `tool`."""


class FunctionDefinition(Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(Struct, frozen=True, kw_only=True):
    function: FunctionDefinition
    type: Literal["function"] | None = None


class FunctionName(Struct, frozen=True, kw_only=True):
    name: str


class FunctionChoice(Struct, frozen=True, kw_only=True):
    function: FunctionName
    type: Literal["function"] | None = None


class NativeChatRequest(Asking, frozen=True, kw_only=True):
    """`POST /api/chat`."""

    messages: list[ChatMessage] | None = None
    """None at all loads the model, or unloads it with a `keep_alive` of 0."""
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | None = None
    """Ours, as OpenAI has it."""


# Replies.


class ToolFunction(Struct, frozen=True, kw_only=True):
    index: int
    name: str
    arguments: dict[str, Any]


class NativeToolCall(Struct, frozen=True, kw_only=True):
    id: str
    function: ToolFunction


class NativeMessage(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[NativeToolCall] | UnsetType = UNSET


class ChatLine(Metrics, frozen=True, kw_only=True):
    """A line of a stream, and a whole answer alike."""

    model: str
    """The name that was asked for."""
    created_at: str
    message: NativeMessage
    logprobs: list[Logprob] | UnsetType = UNSET
    done: bool
