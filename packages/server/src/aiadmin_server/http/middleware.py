"""What surrounds every request, 404s included: an id, a count, who may ask at all, and who is asking. Used by `app`.

Outermost first: `identified` (id, count, last resort for errors), then plugins' own middleware, then `guarded`
(Host and Origin), then `authenticated`.
"""

import asyncio
import secrets
from collections.abc import Callable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send
from litestar.utils.path import normalize_path

from aiadmin_core.errors import AiAdminError, PluginError
from aiadmin_core.plugins import HARM, Plugins, describe

from ..serving.metrics import Metrics
from .errors import ClientLeft, told
from .origins import host_allowed, origin_allowed

Middleware = Callable[[ASGIApp], ASGIApp]


class Forbidden(AiAdminError):
    """The request comes from where none is taken."""

    code, status = "forbidden", 403


class ShuttingDown(AiAdminError):
    """The server ends, and the request did not end in time."""

    code, status = "shutting_down", 503


def identified(app: ASGIApp, metrics: Metrics) -> ASGIApp:
    """Give each request an id (`x-request-id`) and one spelling of its path, count it, and answer what nothing else has
    caught."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        scope["path"] = normalize_path(scope["path"])  # as routes are found: `//v1/models` is judged as `/v1/models`
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = "req_" + secrets.token_hex(12)
        status = ClientLeft.status
        is_stream = has_ended = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_stream, has_ended
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream")
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            elif message["type"] == "http.response.body":
                has_ended = not message["more_body"]
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        except Exception as error:
            if status != ClientLeft.status:
                raise  # the response has begun: the connection is closed
            await send_error(error, scope, send_with_id)
        except asyncio.CancelledError:  # by the server, which ends: a client that leaves cancels less
            ending = ShuttingDown("The server is shutting down.", hint="Try again when it is back.")
            if status == ClientLeft.status:
                await send_error(ending, scope, send_with_id)
            elif is_stream and not has_ended:
                _, body = told(ending, scope)
                await send({"type": "http.response.body", "body": b"data: " + body + b"\n\n", "more_body": False})
            elif not has_ended:
                raise
        finally:
            endpoint = scope.get("path_template") or "other"
            metrics.answered(endpoint=endpoint, model=state.get("model", ""), status=status)
            if code := state.get("error_code"):
                metrics.failed(endpoint=endpoint, code=code)

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


async def send_error(error: Exception, scope: Scope, send: Send) -> None:
    """The whole response for `error`."""
    found, body = told(error, scope)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **found.headers}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    start: HTTPResponseStartEvent = {"type": "http.response.start", "status": found.status, "headers": encoded}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
