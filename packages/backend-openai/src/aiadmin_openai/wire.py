"""What upstreams stream, as far as it is read. Servers differ in what they leave out and what they write as null, so
everything has a default; what is not named here is skipped."""

from typing import Any

from msgspec import Struct


class Alternative(Struct):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    id: int = -1
    """llama-server gives it; -1 is unknown."""


class TokenLogprob(Alternative):
    top_logprobs: list[Alternative] | None = None


class Logprobs(Struct):
    """Of a chat chunk (`content`), or of a completion's (three lists, an item for each token)."""

    content: list[TokenLogprob] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class Function(Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    """Text on vLLM and OpenRouter; elsewhere something else."""
    tool_calls: list[ToolCall] | None = None


class ChunkChoice(Struct):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    """Instead of `delta`, from a server that does not stream."""
    text: str | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """vLLM: the stop string, or the id of the stop token."""


class PromptDetails(Struct):
    cached_tokens: int | None = None


class CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """Of all choices together."""
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Chunk(Struct):
    choices: list[ChunkChoice] | None = None
    usage: Usage | None = None
    error: Any = None
    object: Any = None
