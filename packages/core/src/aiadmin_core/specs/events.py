"""What an engine gives back while it works.

The order of one choice's events: `PromptScored`, where it was asked for, `Started`, any number of deltas, then one
`Finished` or `Failed`. A `Failed` with `choice` None ends the whole request. What was asked for vectors or scores has
one of `Embedded` and `Scored` in place of deltas, and what was asked for tokens a `Tokenized`.
"""

from typing import Literal

from msgspec import Struct

from .vectors import Scores, Vectors

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Alternative(Struct, frozen=True, array_like=True):
    """A token that could have stood there."""

    token: int
    bytes: bytes
    logprob: float


class TokenLogprob(Struct, frozen=True, array_like=True):
    """A generated token with its natural-log probability before sampling changed the distribution."""

    token: int
    bytes: bytes
    logprob: float
    top: tuple[Alternative, ...] = ()


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one choice cost. Durations are wall-clock seconds."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Tokens generated for this choice, reasoning included."""
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache; None where the engine does not know."""
    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    """Of the tokens generated those that `GenerateRequest.prediction` has foretold."""
    rejected_prediction_tokens: int = 0
    """Tokens of the prediction that came to nothing."""
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class Started(Struct, frozen=True, tag="started", array_like=True):
    """The prompt is in the context; the first token comes next."""

    request_id: int
    prompt_tokens: int
    cached_tokens: int | None = None
    max_tokens: int | None = None
    """What the context has room for, where the answer was allowed more."""
    n_dropped: int = 0
    """Messages that were left out to make room."""


class PromptToken(Struct, frozen=True, array_like=True):
    """A token of the prompt with its natural-log probability after those before it."""

    token: int
    bytes: bytes
    logprob: float | None = None
    """None for the first one: nothing is before it."""
    top: tuple[Alternative, ...] = ()


class PromptScored(Struct, frozen=True, tag="prompt_scored", array_like=True):
    """The next tokens of the prompt with their log-probabilities, where `GenerateRequest.score_prompt` asks for them:
    events as the prompt is read, so that none is large, which together have every token of it before `Started`."""

    request_id: int
    tokens: tuple[PromptToken, ...]
    choice: int = 0
    """The request's first: the prompt is that of all its choices."""


class TextDelta(Struct, frozen=True, tag="text", array_like=True):
    """More of the answer. Always whole characters."""

    request_id: int
    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens behind `text`, where they were asked for."""


class ReasoningDelta(Struct, frozen=True, tag="reasoning", array_like=True):
    """More of what the model thinks before it answers."""

    request_id: int
    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ToolCallDelta(Struct, frozen=True, tag="tool_call", array_like=True):
    """More of a tool call: `id` and `name` come with the first delta of an `index`, `arguments` piece by piece."""

    request_id: int
    index: int
    choice: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens behind it, the markup around a call among them, where they were asked for."""


class Embedded(Struct, frozen=True, tag="embedded", array_like=True):
    """The vectors of an `EmbedRequest`."""

    request_id: int
    vectors: Vectors


class Scored(Struct, frozen=True, tag="scored", array_like=True):
    """The scores of a `ScoreRequest`."""

    request_id: int
    scores: Scores


class Tokenized(Struct, frozen=True, tag="tokenized", array_like=True):
    """The tokens of a `TokenizeRequest`."""

    request_id: int
    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...] = ()
    """What each stands for, control tokens spelled out, where that was asked for. Not always whole characters."""


class Finished(Struct, frozen=True, tag="finished", array_like=True):
    """The choice is complete."""

    request_id: int
    reason: FinishReason
    usage: Usage = Usage()
    choice: int = 0
    stop: str | None = None
    """The stop string that ended it, where one did; None too where the engine cannot know which it was (one that
    forwards to a server whose API does not say). Engines made by `assemble` always know."""
    tokens: tuple[int, ...] = ()
    """Of the prompt and the answer, the one that ended it included, where `GenerateRequest.tells_tokens` asked."""


class Failed(Struct, frozen=True, tag="failed", array_like=True):
    """The request (or the one choice) cannot go on; `code` and `status` as in `errors.AiAdminError`."""

    request_id: int
    message: str
    code: str = "internal_error"
    status: int = 500
    hint: str = ""
    choice: int | None = None
    param: str | None = None


Event = (
    Started
    | PromptScored
    | TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | Embedded
    | Scored
    | Tokenized
    | Finished
    | Failed
)
