"""What plugins that watch the server are given, and what they give back."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from .specs.request import Request


class Exchange(Struct, frozen=True, kw_only=True):
    """One request on its way to an engine."""

    model: str
    """The name the client asked for."""
    resolved: str
    """The model behind it, as `aiadmin list` shows it."""
    backend: str
    endpoint: str
    """The path that was called, `/v1/chat/completions`."""
    identity: str | None
    """Who is calling, if a plugin knows."""
    request: Request
    """A `GenerateRequest`; or an `EmbedRequest` or `ScoreRequest`, whose events are `Started`, `Embedded` or `Scored`,
    and `Finished`."""


class Finding(Struct, frozen=True, kw_only=True):
    """What a doctor check found."""

    status: Literal["ok", "warning", "problem"]
    summary: str
    hint: str = ""
    """What to do about it."""


class DoctorCheck(Struct, frozen=True, kw_only=True):
    """One line of `aiadmin doctor`."""

    name: str
    run: Callable[[], Finding]
    """May take seconds; what it raises is shown as a problem."""
