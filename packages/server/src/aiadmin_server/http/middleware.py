"""What surrounds every request, 404s included: an id, a count, who may ask at all, and who is asking. Used by `app`.

Outermost first: `identified` (id, count, last resort for errors), then plugins' own middleware, then `guarded`
(Host and Origin), then `authenticated`.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.path import normalize_path

from aiadmin_core import route
from aiadmin_core.errors import AiAdminError, PluginError
from aiadmin_core.plugins import HARM, Plugins, error_text

from .errors import ShuttingDown, Voices, send_error
from .origins import host_allowed, origin_allowed
from .record import Record

Middleware = Callable[[ASGIApp], ASGIApp]


class Forbidden(AiAdminError):
    """The request comes from where none is taken."""

    code, status = "forbidden", 403


class LoopDetected(AiAdminError):
    """The request has been here before: a model behind another server leads back to this one."""

    code, status = "loop_detected", 400  # no 5xx: whoever forwards would try another upstream

    def __init__(self, why: str) -> None:
        super().__init__(
            f"This request goes round in a circle: {why}.",
            hint="A remote model leads back to this server: `aiadmin show NAME` tells where it points.",
            param="model",
        )


MAX_SERVERS = 8
"""That a request may come through."""

_ASKING = frozenset({ScopeType.HTTP, ScopeType.WEBSOCKET})
"""Kinds of connections that ask for something."""


class Counting(Protocol):
    """Who is told of every request: `serving.metrics.Metrics`."""

    def answered(self, *, endpoint: str, model: str, status: int) -> None: ...
    def failed(self, *, endpoint: str, code: str) -> None: ...


def identified(app: ASGIApp, counting: Counting, apis: Voices) -> ASGIApp:
    """Give each request an id (`x-request-id`), one spelling of its path and the APIs that tell its errors; answer what
    nothing else has caught; count it, and tell the log of it."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            if scope["type"] in _ASKING:
                _introduce(scope, apis)
            await app(scope, receive, send)
            return
        scope["path"] = normalize_path(scope["path"])  # as routes are found: `//v1/models` is judged as `/v1/models`
        state = _introduce(scope, apis)
        record: Record = state["record"]
        record.method, record.endpoint = scope["method"], scope["path"]
        has_begun = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun, record.status = True, message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", record.id.encode())]
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        except Exception as error:
            if has_begun:
                raise  # the response has begun: the connection is closed
            await send_error(error, scope, send_with_id)
        except asyncio.CancelledError:  # by the server, which ends: a client that leaves cancels less
            if has_begun:
                raise
            await send_error(ShuttingDown(), scope, send_with_id)
        finally:
            endpoint = scope.get("path_template") or "other"
            counting.answered(endpoint=endpoint, model=record.model, status=record.status)
            if record.error:
                counting.failed(endpoint=endpoint, code=record.error)
            record.tell()

    return middleware


def guarded(app: ASGIApp, *, loopback: bool, origins: tuple[str, ...], names: tuple[str, ...]) -> ASGIApp:
    """Refuse web pages of foreign origins and, on a loopback address, foreign Host headers: a page in the user's own
    browser can reach this server too, by name (DNS rebinding), with a form or a WebSocket, which need no permission.

    `origins` and `names` (of hosts) are allowed besides those of this machine.
    """

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _ASKING:
            headers = dict(scope["headers"])
            host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin", b"").decode("latin-1")
            if loopback and not host_allowed(host, names=names):
                hint = "Name it in AIADMIN_ALLOWED_HOSTS to allow it."
                await _refuse(Forbidden(f"The host '{host}' is not this server's.", hint=hint), scope, receive, send)
                return
            if origin and not origin_allowed(origin, host=host, extra=origins, names=names):
                hint = "Name it in AIADMIN_ORIGINS to allow it."
                error = Forbidden(f"Pages of '{origin}' may not use this server.", hint=hint)
                await _refuse(error, scope, receive, send)
                return
        await app(scope, receive, send)

    return middleware


def routed(app: ASGIApp, server_id: str) -> ASGIApp:
    """Note that each request came through this server (`aiadmin_core.route`), and refuse one that did so before."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _ASKING:
            header = dict(scope["headers"]).get(route.HEADER.encode(), b"").decode("latin-1")
            passed = tuple(part.strip() for part in header.split(",") if part.strip())
            if server_id in passed or len(passed) >= MAX_SERVERS:
                why = "this server" if server_id in passed else f"{len(passed)} servers"
                await _refuse(LoopDetected(f"it has come through {why} already"), scope, receive, send)
                return
            route.came_through.set((*passed, server_id))  # the request's task ends with the request
        await app(scope, receive, send)

    return middleware


def authenticated(app: ASGIApp, plugins: Plugins) -> ASGIApp:
    """Ask the plugins who is calling (`aiadmin_authenticate`). What they raise refuses the request, and so does
    an answer that is no name."""
    if not plugins.hook.aiadmin_authenticate.get_hookimpls():
        return app

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _ASKING and scope.get("method") != "OPTIONS":  # a preflight carries no key
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                identity = plugins.hook.aiadmin_authenticate(headers=headers, path=scope["path"])
                if identity is not None and (not isinstance(identity, str) or not identity):
                    given = type(identity).__name__ if identity else "an empty name"
                    raise PluginError(f"A plugin's aiadmin_authenticate gave {given} where a name was expected.")
            except HARM as error:
                told = error if isinstance(error, Exception) else PluginError(error_text(error))
                await _refuse(told, scope, receive, send)
                return
            scope["state"]["record"].who = identity
        await app(scope, receive, send)

    return middleware


def _introduce(scope: Scope, apis: Voices) -> dict[str, Any]:
    """The connection's state, with what every error needs to be told."""
    state: dict[str, Any] = scope.setdefault("state", {})
    state["apis"] = apis
    state["record"] = Record(id="req_" + secrets.token_hex(12))
    return state


async def _refuse(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with `error`; a WebSocket is closed before it is open, which clients see as a 403."""
    if scope["type"] == ScopeType.HTTP:
        await send_error(error, scope, send)
        return
    if (await receive())["type"] == "websocket.connect":
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:_REASON_CHARS]})


_REASON_CHARS = 100
"""Of a WebSocket's close frame: 123 bytes is what the protocol has room for."""
