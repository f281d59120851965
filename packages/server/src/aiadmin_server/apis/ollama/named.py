"""A request that is about one model, by `model` or, as older clients call it, `name`."""

from msgspec import Struct

from aiadmin_core.errors import BadRequest


class Named(Struct, frozen=True, kw_only=True):
    model: str | None = None
    name: str | None = None
    """The same by its older name."""


def name_in(data: Named) -> str:
    """Raises `BadRequest` where there is none."""
    if name := data.model or data.name:
        return name
    raise BadRequest("model is required", param="model")
