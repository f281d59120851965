"""A model that comes from, or goes to, another place: what such requests have in common, and who asks."""

from typing import Any

from litestar import Request

from aiadmin_core.sources import Caller

from ...settings import Settings
from .named import Named


class Transfer(Named, frozen=True, kw_only=True):
    stream: bool | None = None
    """True where it is left out."""
    insecure: bool | None = None
    """Speak plain http to another machine, too."""
    username: str | None = None
    """No effect, nor has the next: AIADMIN_REGISTRY_CREDENTIALS of the server says who it is."""
    password: str | None = None


def caller_of(request: Request[Any, Any, Any], settings: Settings, *, insecure: bool | None = False) -> Caller:
    """Who sent `request`, as sources want to know."""
    return Caller(
        over="http",
        identity=request.scope["state"].get("identity") or "",
        private_addresses=settings.private_sources,
        insecure=bool(insecure),
    )
