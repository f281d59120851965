"""What surrounds every request, 404s included: an id, a count, who may ask at all, and who is asking. Used by `app`.

Outermost first: `identified` (id, count, last resort for errors), then plugins' own middleware, then `guarded`
(Host and Origin), then `authenticated`.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.path import normalize_path

from aiadmin_core.errors import AiAdminError, PluginError
from aiadmin_core.plugins import HARM, Plugins, describe

from .errors import ClientLeft, ShuttingDown, Voices, send_error
from .origins import host_allowed, origin_allowed

Middleware = Callable[[ASGIApp], ASGIApp]


class Forbidden(AiAdminError):
    """The request comes from where none is taken."""

    code, status = "forbidden", 403


class Counting(Protocol):
    """Who is told of every request: `serving.metrics.Metrics`."""

    def answered(self, *, endpoint: str, model: str, status: int) -> None: ...
    def failed(self, *, endpoint: str, code: str) -> None: ...


def identified(app: ASGIApp, counting: Counting, apis: Voices) -> ASGIApp:
    """Give each request an id (`x-request-id`), one spelling of its path and the APIs that tell its errors; count it,
    and answer what nothing else has caught."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        scope["path"] = normalize_path(scope["path"])  # as routes are found: `//v1/models` is judged as `/v1/models`
        state = scope.setdefault("state", {})
        state["apis"] = apis
        request_id = state["request_id"] = "req_" + secrets.token_hex(12)
        status = ClientLeft.status

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        except Exception as error:
            if status != ClientLeft.status:
                raise  # the response has begun: the connection is closed
            await send_error(error, scope, send_with_id)
        except asyncio.CancelledError:  # by the server, which ends: a client that leaves cancels less
            if status != ClientLeft.status:
                raise
            await send_error(ShuttingDown(), scope, send_with_id)
        finally:
            endpoint = scope.get("path_template") or "other"
            counting.answered(endpoint=endpoint, model=state.get("model", ""), status=status)
            if code := state.get("error_code"):
                counting.failed(endpoint=endpoint, code=code)

    return middleware


def guarded(app: ASGIApp, *, loopback: bool, origins: tuple[str, ...]) -> ASGIApp:
    """Refuse web pages of foreign origins and, on a loopback address, foreign Host headers: a page in the user's own
    browser can reach this server too, by name (DNS rebinding) or with a form that needs no permission."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            headers = dict(scope["headers"])
            host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin", b"").decode("latin-1")
            if loopback and not host_allowed(host):
                await send_error(Forbidden(f"The host '{host}' is not this server's."), scope, send)
                return
            if origin and not origin_allowed(origin, host=host, extra=origins):
                hint = "Name it in AIADMIN_ORIGINS to allow it."
                await send_error(Forbidden(f"Pages of '{origin}' may not use this server.", hint=hint), scope, send)
                return
        await app(scope, receive, send)

    return middleware


def authenticated(app: ASGIApp, plugins: Plugins) -> ASGIApp:
    """Ask the plugins who is calling (`aiadmin_authenticate`). What they raise refuses the request, and so does
    an answer that is no name."""
    if not plugins.hook.aiadmin_authenticate.get_hookimpls():
        return app

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] != "OPTIONS":  # a preflight carries no key
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                identity = plugins.hook.aiadmin_authenticate(headers=headers, path=scope["path"])
                if identity is not None and (not isinstance(identity, str) or not identity):
                    given = type(identity).__name__ if identity else "an empty name"
                    raise PluginError(f"A plugin's aiadmin_authenticate gave {given} where a name was expected.")
            except HARM as error:
                await send_error(error if isinstance(error, Exception) else PluginError(describe(error)), scope, send)
                return
            scope.setdefault("state", {})["identity"] = identity
        await app(scope, receive, send)

    return middleware
