"""What OpenAI's clients send, with OpenAI's own field names; `decode` reads it, `to_core` translates it.

Every field of OpenAI's schema has a place here: one that is missing is unknown, and refused by name. Optional fields
are `| None = None`, so that JSON null means absent. Ranges are checked in `to_core`, where a message can name both
ends. The last fields of a request are our own extensions (`extra_body` of OpenAI's Python library).
"""

from typing import Any, Literal

from msgspec import Struct

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


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


# Tools.


class FunctionDefinition(Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    function: FunctionDefinition


class CustomTool(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    custom: dict[str, Any]


class FunctionName(Struct, frozen=True, kw_only=True):
    name: str


class FunctionChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    function: FunctionName


class CustomChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    custom: dict[str, Any]


class AllowedTool(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    function: FunctionName


class AllowedTools(Struct, frozen=True, kw_only=True):
    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


class AllowedToolsChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


# What the answer must look like.


class TextFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """No constraint."""


class JsonObjectFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchemaDefinition(Struct, frozen=True, kw_only=True):
    name: str
    schema: dict[str, Any]
    description: str | None = None
    """For the model at OpenAI; the constraint holds without it. No effect."""
    strict: bool | None = None
    """No effect: a schema always binds."""


class JsonSchemaFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    json_schema: JsonSchemaDefinition


# Requests.


class StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class PromptCacheOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    mode: Literal["implicit", "explicit"] | None = None
    """No effect: every prefix is cached."""
    ttl: str | None = None


class ChatCompletionRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[ChatMessage]
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: float | None = None
    reasoning_effort: ReasoningEffort | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedToolsChoice | CustomChoice | None = None
    tools: list[FunctionTool | CustomTool] | None = None
    top_logprobs: int | None = None
    top_p: float | None = None

    # No effect here: for a hosted service's own books. Passed on to one.
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None

    # No effect where they ask for what is done anyway; refused by name otherwise.
    modalities: list[Literal["text", "audio"]] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    store: bool | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    # Refused by name.
    audio: dict[str, Any] | None = None
    function_call: str | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    moderation: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None

    # Extensions.
    cache_salt: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    ignore_eos: bool | None = None
    keep_alive: int | float | str | None = None
    min_p: float | None = None
    priority: int | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    top_k: int | None = None


class CompletionRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/completions`."""

    model: str
    prompt: str | list[str | int | list[int]]
    """A text, texts, tokens, or lists of tokens; `to_core` refuses a mixture."""
    best_of: int | None = None
    echo: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    """No effect, as in a chat."""

    # Extensions.
    cache_salt: str | None = None
    ignore_eos: bool | None = None
    keep_alive: int | float | str | None = None
    min_p: float | None = None
    priority: int | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    top_k: int | None = None
