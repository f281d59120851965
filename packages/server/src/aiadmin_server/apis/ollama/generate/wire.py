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

    # Refused by name, unless empty.
    context: list[int] | None = None
    template: str | None = None


class GenerateLine(Metrics, frozen=True, kw_only=True):
    """A line of a stream, and a whole answer alike."""

    model: str
    """The name that was asked for."""
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    logprobs: list[Logprob] | UnsetType = UNSET
    done: bool
