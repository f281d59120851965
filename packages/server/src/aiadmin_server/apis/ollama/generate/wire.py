"""What Ollama's clients send to `/api/generate` and are sent back; `chat.wire` has the rules."""

from msgspec import UNSET, UnsetType

from ..answering import Logprob, Metrics
from ..asking import Asking


class GenerateBody(Asking, frozen=True, kw_only=True):
    """`POST /api/generate`."""

    prompt: str | None = None
    """None, or an empty one, loads the model, or unloads it with a `keep_alive` of 0."""
    images: list[str] | None = None
    raw: bool | None = None
    """The prompt is continued as it is, without a template."""
    suffix: str | None = None
    """What follows the gap to be filled, on models that can fill one."""
    system: str | None = None
    template: str | None = None
    """A chat template in Go's language, instead of the model's own."""
    context: list[int] | None = None
    """What an earlier answer gave: the prompt goes on from there."""


class GenerateLine(Metrics, frozen=True, kw_only=True):
    """A line of a stream, and a whole answer alike."""

    model: str
    """The name that was asked for."""
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    logprobs: list[Logprob] | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET
    """In the last line, unless `raw`: tokens of all that was read and written, for the next request."""
    done: bool
