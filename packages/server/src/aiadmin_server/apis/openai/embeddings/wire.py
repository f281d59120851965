"""What OpenAI's clients send to `/v1/embeddings` and are sent back; `chat.wire` has the rules."""

from typing import Literal

from msgspec import Struct

from ..inputs import Inputs


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/embeddings`."""

    model: str
    input: Inputs
    """A text, texts, tokens, or lists of tokens; `to_core` refuses a mixture."""
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    """No effect, as in a chat."""

    # Extensions.
    keep_alive: int | float | str | None = None
    truncate: bool | None = None
    """Read the beginning of an input that is too long, instead of refusing it."""


class Embedding(Struct, frozen=True, kw_only=True):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers; or the same as little-endian float32 in base64, where that is the `encoding_format`."""


class EmbeddingUsage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    """The name that was asked for."""
    usage: EmbeddingUsage
