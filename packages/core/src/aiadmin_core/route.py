"""Which servers a request has come through, so that one that would come back is refused instead of going round.

A server notes itself before it works on a request; an engine that forwards sends on what is noted. The note follows the
request's tasks (a context variable), so engines in the server's own process see it without being told.
"""

from collections.abc import Mapping
from contextvars import ContextVar

HEADER = "x-aiadmin-route"
"""Ids of servers, separated by commas, the first one first."""

came_through: ContextVar[tuple[str, ...]] = ContextVar("came_through", default=())


def headers() -> Mapping[str, str]:
    """What a forwarded request says of its way; nothing outside a server."""
    passed = came_through.get()
    return {HEADER: ",".join(passed)} if passed else {}
