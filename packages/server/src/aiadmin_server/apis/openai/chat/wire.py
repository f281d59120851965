"""What OpenAI's clients send to `/v1/chat/completions` and are sent back, with OpenAI's own field names.

Every field of OpenAI's schema has a place here. Optional fields of requests are `| None = None`, so that JSON null
means absent; ranges are checked in `to_core`, where a message can name both ends. In replies a field that may be
missing is `UNSET`, and None is written as null. The last fields of a request, and those of `Extensions`, are not
OpenAI's (`extra_body` of its library).
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from aiadmin_core.specs import events as core

from ..extensions import Extensions
from ..messages import ChatMessage
from ..streaming import StreamOptions
from ..usage import Usage

FinishReason = core.FinishReason | Literal["function_call"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


# Tools.


class FunctionDefinition(Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    function: FunctionDefinition


class CustomText(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Any text."""


class GrammarDefinition(Struct, frozen=True, kw_only=True):
    definition: str
    syntax: Literal["lark", "regex"]


class CustomGrammar(Struct, frozen=True, kw_only=True, tag_field="type", tag="grammar"):
    grammar: GrammarDefinition


class CustomDefinition(Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = None
    format: CustomText | CustomGrammar | None = None


class CustomTool(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    custom: CustomDefinition


class FunctionName(Struct, frozen=True, kw_only=True):
    name: str


class FunctionChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    function: FunctionName


class CustomChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    custom: FunctionName


class AllowedTools(Struct, frozen=True, kw_only=True):
    mode: Literal["auto", "required"]
    tools: list[FunctionChoice | CustomChoice]


class AllowedToolsChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


# What the answer must look like.


class TextFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """No constraint."""


class JsonObjectFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchemaDefinition(Struct, frozen=True, kw_only=True):
    name: str
    schema: dict[str, Any] | None = None
    """None asks for any object, as `json_object` does."""
    description: str | None = None
    """For the model at OpenAI; the constraint holds without it. No effect."""
    strict: bool | None = None
    """No effect: a schema always binds."""


class JsonSchemaFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    json_schema: JsonSchemaDefinition


# Requests.


class PromptCacheOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    mode: Literal["implicit", "explicit"] | None = None
    """No effect: every prefix is cached."""
    ttl: str | None = None


class PredictedText(Struct, frozen=True, kw_only=True):
    type: Literal["text"]
    text: str


class Prediction(Struct, frozen=True, kw_only=True):
    """A text that much of the answer is expected to be."""

    type: Literal["content"]
    content: str | list[PredictedText]


Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class ChatCompletionRequest(Extensions, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[ChatMessage]
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    reasoning_effort: ReasoningEffort | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedToolsChoice | CustomChoice | None = None
    tools: list[FunctionTool | CustomTool] | None = None
    top_logprobs: int | None = None

    # What `tools` and `tool_choice` replaced; answers are told in their way.
    function_call: Literal["none", "auto"] | FunctionName | None = None
    functions: list[FunctionDefinition] | None = None

    # No effect here: for a hosted service's own books. Passed on to one.
    metadata: Metadata | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    user: str | None = None

    prompt_cache_key: str | None = None
    """A hint: requests with the same key are likely to begin alike."""

    # No effect where they ask for what is done anyway; refused by name otherwise.
    modalities: list[Literal["text", "audio"]] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    store: bool | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    # Refused by name.
    audio: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None

    # Extensions; more of them are in `Extensions`.
    add_generation_prompt: bool | None = None
    """vLLM's: true begins a new turn also behind an assistant's message, which is continued otherwise."""
    continue_final_message: bool | None = None
    """Whether the answer goes on where the last message, the assistant's, ends; null does where it is one."""
    truncation: Literal["auto", "disabled"] | None = None
    """As in OpenAI's responses: "auto" leaves out the oldest turns of a conversation that is too long."""
    enable_thinking: bool | None = None
    """Qwen's switch: false is a `reasoning_effort` of "none"."""
    think: bool | Literal["low", "medium", "high"] | None = None
    """Ollama's switch, or degree."""
    cache_salt: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    keep_alive: int | float | str | None = None
    priority: int | None = None


# Replies.


class TopLogprob(Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Struct, frozen=True, kw_only=True):
    content: list[TokenLogprob] | None
    refusal: None = None

    # Not OpenAI's, whose list holds the tokens of the content alone.
    reasoning_content: list[TokenLogprob] | UnsetType = UNSET
    tool_calls: list[TokenLogprob] | UnsetType = UNSET
    """Those of all calls, in order, with the markup around them."""


class FunctionCall(Struct, frozen=True, kw_only=True):
    name: str
    arguments: str


class ToolCall(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    id: str
    function: FunctionCall


class CustomCall(Struct, frozen=True, kw_only=True):
    name: str
    input: str


class CustomToolCall(Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    id: str
    custom: CustomCall


class AssistantMessage(Struct, frozen=True, kw_only=True):
    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCall | CustomToolCall] | UnsetType = UNSET
    function_call: FunctionCall | UnsetType = UNSET


class ChatChoice(Struct, frozen=True, kw_only=True):
    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: ChoiceLogprobs | None = None


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str


class FunctionCallDelta(Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    arguments: str = ""


class CustomCallDelta(Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    input: str = ""


class ToolCallDelta(Struct, frozen=True, kw_only=True):
    index: int
    function: FunctionCallDelta | UnsetType = UNSET
    custom: CustomCallDelta | UnsetType = UNSET
    """OpenAI sends it, though its description has functions only."""
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET


class Delta(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    function_call: FunctionCallDelta | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True, kw_only=True):
    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    system_fingerprint: str
    usage: Usage | UnsetType | None = UNSET
    """Null in every chunk but the last, where usage is asked for; missing otherwise."""
