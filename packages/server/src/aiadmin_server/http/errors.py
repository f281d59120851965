"""Errors on their way out: every exception becomes a `Problem`, told in the envelope of the API that was called.

Which API that is says the path, so that what routers, middleware and authentication raise is told as its clients
expect. A traceback goes to the log and never to a client. Used by `app`, `middleware` and `serving.answer`.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import HTTPResponseStartEvent, Scope, Send
from msgspec.structs import replace

from aiadmin_core.errors import AiAdminError

from .problem import Problem
from .record import Record

LOG = logging.getLogger("aiadmin.server")

_MAX_PATH = 200
"""Characters of a path that an error repeats."""
_HTTP_CODES = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}


class ClientLeft(AiAdminError):
    """The connection ended before the request's body did. Nobody reads the answer; the metrics count it."""

    code, status = "client_left", 499


class ShuttingDown(AiAdminError):
    """The server ends, and the request did not end in time."""

    code, status = "shutting_down", 503

    def __init__(self) -> None:
        super().__init__("The server is shutting down.", hint="Try again when it is back.")


class Voice(Protocol):
    """What the door and `serving` need of an `apis.Api`."""

    @property
    def names(self) -> Mapping[str, str]:
        """What the API calls a neutral field, where it is not called the same."""

    @property
    def envelope(self) -> Any:
        """`(Problem) -> body`."""


class Voices(Protocol):
    """What they need of all of them, `apis.Apis`. It lies in the connection's state as `apis`."""

    def at(self, path: str) -> Voice:
        """The API that a path belongs to, or one that speaks plainly."""

    def nothing_at(self, path: str, *, host: str) -> str:
        """What a 404 says of a path that has no route."""


def problem(error: BaseException, *, request_id: str) -> Problem:
    """What a client is told about `error`. One that nobody foresaw is logged with its traceback."""
    if isinstance(error, AiAdminError):
        if error.status >= 500:
            LOG.warning("%s: %s", request_id, error, exc_info=error.__cause__)
        return Problem(
            status=error.status,
            message=str(error),
            code=error.code,
            param=error.param,
            headers=_retry_headers(error),
            request_id=request_id,
        )
    if isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        headers = dict(error.headers or {})
        return Problem(
            status=status,
            message=_http_message(status, error.detail, headers),
            code=_HTTP_CODES.get(status, "invalid_request"),
            headers=headers,
            request_id=request_id,
        )
    if isinstance(error, RecursionError):  # nothing here recurses but over what a client has sent
        LOG.warning("%s: a request nested too deeply", request_id)
        message = "The request is nested too deeply."
        return Problem(status=400, message=message, code="invalid_value", request_id=request_id)
    LOG.error("%s: unexpected error", request_id, exc_info=error)
    message = f"Internal error; the server's log has it as {request_id}."
    return Problem(status=500, message=message, code="internal_error", request_id=request_id)


def _http_message(status: int, detail: str, headers: Mapping[str, str]) -> str:
    """What the framework refused, in our words where there are any. A 405 names the methods that its header allows."""
    if status == 413:
        return "The request body is too large."
    if status != 405:
        return detail
    allowed = next((value for name, value in headers.items() if name.lower() == "allow"), "")
    methods = [one for one in re.split(r"[,\s]+", allowed) if one not in ("", "OPTIONS", "HEAD")]
    return "This path does not take this method" + (f": it takes {' or '.join(methods)}." if methods else ".")


def _retry_headers(error: AiAdminError) -> dict[str, str]:
    """`x-should-retry` is what OpenAI's clients obey before they look at the status."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers


def body_of(problem: Problem, path: str, apis: Voices) -> bytes:
    """The JSON body that tells `problem` to who called `path`."""
    return msgspec.json.encode(apis.at(path).envelope(problem))


def told(error: BaseException, scope: Scope) -> tuple[Problem, Any]:
    """What the client of this connection is told, and the envelope that says it, as plain data or a Struct. The code
    is kept for the log and the metrics."""
    state = scope["state"]
    voices: Voices = state["apis"]
    record: Record = state["record"]
    found = problem(error, request_id=record.id)
    if found.code == "unknown_url":
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        where = f"Invalid URL ({scope.get('method', 'WebSocket')} {scope['path'][:_MAX_PATH]})."  # as OpenAI says it
        found = replace(found, message=f"{where} {voices.nothing_at(scope['path'], host=host)}")
    record.error = found.code
    return found, voices.at(scope["path"]).envelope(found)


async def send_error(error: BaseException, scope: Scope, send: Send) -> None:
    """The whole response for `error`."""
    found, envelope = told(error, scope)
    body = msgspec.json.encode(envelope)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **found.headers}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    start: HTTPResponseStartEvent = {"type": "http.response.start", "status": found.status, "headers": encoded}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


def answer_with_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception, its own included."""
    found, envelope = told(error, request.scope)
    body = msgspec.json.encode(envelope)
    return Response(body, status_code=found.status, headers=found.headers, media_type="application/json")
