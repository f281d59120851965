"""What Ollama's clients send to `/api/embed` and `/api/embeddings` and are sent back; `chat.wire` has the rules."""

from msgspec import UNSET, Struct, UnsetType

from ..options import Options


class NativeEmbedRequest(Struct, frozen=True, kw_only=True):
    """`POST /api/embed`."""

    model: str
    input: str | list[str] | None = None
    """None, or nothing in it, loads the model."""
    dimensions: int | None = None
    keep_alive: int | float | str | None = None
    options: Options | None = None
    """What of it says how to sample has no effect."""
    truncate: bool | None = None
    """True where it is left out: the beginning of an input that is too long is read."""


class OldEmbedRequest(Struct, frozen=True, kw_only=True):
    """`POST /api/embeddings`, which `/api/embed` replaced."""

    model: str
    prompt: str | None = None
    """None, or an empty one, loads the model."""
    keep_alive: int | float | str | None = None
    options: Options | None = None
    """As above."""


class Embeddings(Struct, frozen=True, kw_only=True):
    model: str
    """The name that was asked for."""
    embeddings: list[list[float]]
    """A vector of length 1 for each input."""
    total_duration: int | UnsetType = UNSET
    """In nanoseconds, as the next."""
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    """Tokens that were read."""


class OldEmbedding(Struct, frozen=True, kw_only=True):
    embedding: list[float]
