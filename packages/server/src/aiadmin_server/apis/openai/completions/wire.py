"""What OpenAI's clients send to `/v1/completions` and are sent back; `chat.wire` has the rules."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.specs.events import FinishReason

from ..extensions import Extensions
from ..inputs import Inputs
from ..streaming import StreamOptions
from ..usage import Usage


class CompletionRequest(Extensions, frozen=True, kw_only=True):
    """`POST /v1/completions`."""

    model: str
    prompt: Inputs | None
    """A text, texts, tokens, or lists of tokens; `to_core` refuses a mixture. Null, and "", is the beginning of a new
    document."""
    best_of: int | None = None
    echo: bool | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    user: str | None = None
    """No effect, as in a chat."""

    # Extensions; more of them are in `Extensions`.
    cache_salt: str | None = None
    keep_alive: int | float | str | None = None
    priority: int | None = None


class TextLogprobs(Struct, frozen=True, kw_only=True):
    """Lists of equal length, an item for each token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    """None, as in the next one, for a prompt's first token."""
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    """Where the token starts in the choice's text, in characters."""


class TextChoice(Struct, frozen=True, kw_only=True):
    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: FinishReason | None = None


class TextCompletion(Struct, frozen=True, kw_only=True):
    """Whole answers and chunks alike."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    system_fingerprint: str
    usage: Usage | UnsetType | None = UNSET
