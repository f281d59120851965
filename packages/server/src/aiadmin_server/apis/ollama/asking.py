"""What `/api/chat` and `/api/generate` ask for alike: the fields, and what becomes of them. Pure; used by both
`to_core`s."""

from typing import Any, Literal

from msgspec import Struct, field

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import Constraint, JsonObject, JsonSchema
from aiadmin_core.specs.request import NamedAdapter

from ...serving.call import Unplaced, portable
from .options import Options, Rule, unplaced_options


class Asking(Struct, frozen=True, kw_only=True):
    """Fields of both endpoints. JSON null means that a field was not sent."""

    model: str
    format: str | dict[str, Any] | None = None
    """`json`, or a JSON schema; an empty text asks for nothing."""
    keep_alive: int | float | str | None = None
    logprobs: bool | None = None
    lora: list[NamedAdapter] | None = None
    """An extension: LoRA adapters to apply, by the models that were made with them; an empty list applies none."""
    options: Options | None = None
    stream: bool | None = None
    """True where it is left out."""
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    """Models that think do, where it is left out."""
    top_logprobs: int | None = None

    truncate: bool | None = None
    """Leave out the oldest turns of a conversation that is too long; true where it is left out."""
    shift: bool | None = None
    """A hint: an answer that fills the context ends there."""

    # Refused by name.
    debug_render_only: bool | None = field(name="_debug_render_only", default=None)


_UNPLACED = {
    "shift": Rule(why="an answer ends where the context does.", asks_nothing=lambda value: not value, is_hint=True),
}


def options_of(data: Asking) -> Options:
    """Its options, none where there are none."""
    return data.options or Options()


def unplaced(data: Asking) -> tuple[Unplaced, ...]:
    """The fields that core has no place for."""
    found = ((name, rule, getattr(data, name)) for name, rule in _UNPLACED.items())
    own = [rule.applied(name, value) for name, rule, value in found if value is not None]
    if data.debug_render_only:
        own.append(Unplaced(name="_debug_render_only", value=True, why="prompts are not given out."))
    return (*own, *unplaced_options(options_of(data)))


def streams(data: Asking) -> bool:
    """Whether the answer comes line by line."""
    return data.stream is not False


def constraint_of(data: Asking) -> Constraint | None:
    """What the answer must look like. Raises `BadRequest`."""
    if data.format is None or data.format == "":
        return None
    if data.format == "json":
        return JsonObject()
    if isinstance(data.format, str):
        raise BadRequest("'format' must be 'json' or a JSON schema: an object.", param="format")
    return JsonSchema(schema=portable(data.format, "format"))


def effort_of(data: Asking) -> str | None:
    """How much to think, in core's words."""
    if isinstance(data.think, bool):
        return "medium" if data.think else "none"
    return data.think
