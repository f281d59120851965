"""Errors on their way out: every exception becomes the envelope of the API that was called. Used by `app` and `answer`.

Under `/v1` that is OpenAI's `{"error": {message, type, param, code}}`, elsewhere `{"error": "text"}`. A traceback goes
to the log and never to a client.
"""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException
from litestar.types import Scope
from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.errors import AiAdminError, Overloaded

LOG = logging.getLogger("aiadmin.server")

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_HTTP_CODES = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}
_HTTP_MESSAGES = {
    404: "There is nothing at this path. Check the address: OpenAI's API is under /v1.",
    405: "This path does not take this method.",
    413: "The request body is too large.",
}

_SERVED = ("/v1/chat/completions", "/v1/completions", "/v1/models")
_NOT_SERVED = (
    "/v1/assistants",
    "/v1/audio",
    "/v1/batches",
    "/v1/embeddings",
    "/v1/files",
    "/v1/fine_tuning",
    "/v1/images",
    "/v1/moderations",
    "/v1/realtime",
    "/v1/responses",
    "/v1/threads",
    "/v1/uploads",
    "/v1/vector_stores",
)
"""Endpoints of OpenAI's that clients know of."""


class ClientLeft(AiAdminError):
    """The connection ended before the request's body did. Nobody reads the answer; the metrics count it."""

    code, status = "client_left", 499


class Problem(Struct, frozen=True, kw_only=True):
    """An error as a client is told."""

    status: int
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = {}


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """The whole body. Raises `ClientLeft`, and Litestar's own 413."""
    try:
        return await request.body()
    except InternalServerException:  # all that Litestar raises here by this name
        raise ClientLeft("The client left before it had sent its request.") from None


def problem(error: BaseException, *, request_id: str) -> Problem:
    """What a client is told about `error`. One that nobody foresaw is logged with its traceback."""
    if isinstance(error, AiAdminError):
        if error.status >= 500:
            LOG.warning("%s: %s", request_id, error, exc_info=error.__cause__)
        headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Overloaded) else {}
        return Problem(status=error.status, message=str(error), code=error.code, param=error.param, headers=headers)
    if isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        return Problem(
            status=status,
            message=_HTTP_MESSAGES.get(status, error.detail),
            code=_HTTP_CODES.get(status, "invalid_request"),
            headers=dict(error.headers or {}),
        )
    if isinstance(error, RecursionError):  # nothing here recurses but over what a client has sent
        LOG.warning("%s: a request nested too deeply", request_id)
        return Problem(status=400, message="The request is nested too deeply.", code="invalid_value")
    LOG.error("%s: unexpected error", request_id, exc_info=error)
    return Problem(
        status=500, message=f"Internal error; the server's log has it as {request_id}.", code="internal_error"
    )


def nothing_at(path: str, *, host: str) -> str:
    """What a 404 says of a path that has no route. Pure."""
    if path.startswith(_NOT_SERVED):
        return "AiAdmin does not serve this endpoint."
    if f"/v1{path}".startswith((*_SERVED, *_NOT_SERVED)):
        return f"There is nothing at this path. OpenAI's API is under /v1: set the base URL to http://{host}/v1"
    return _HTTP_MESSAGES[404]


def envelope(problem: Problem, path: str) -> dict[str, Any]:
    """The body, in the shape of the API that `path` belongs to."""
    if path != "/v1" and not path.startswith("/v1/"):
        return {"error": problem.message}
    fallback = "invalid_request_error" if problem.status < 500 else "server_error"
    return {
        "error": {
            "message": problem.message,
            "type": _TYPES.get(problem.status, fallback),
            "param": problem.param,
            "code": problem.code,
        }
    }


def body_of(problem: Problem, path: str) -> bytes:
    """The JSON body that tells `problem` to who called `path`."""
    return msgspec.json.encode(envelope(problem, path))


def told(error: Exception, scope: Scope) -> tuple[Problem, bytes]:
    """What the client of this connection is told, and the body that says it. The code is kept for the metrics."""
    state = scope.setdefault("state", {})
    found = problem(error, request_id=state.get("request_id", "-"))
    if found.code == "unknown_url":
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        found = replace(found, message=nothing_at(scope["path"], host=host))
    state["error_code"] = found.code
    return found, body_of(found, scope["path"])


def answer_with_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception, its own included."""
    found, body = told(error, request.scope)
    return Response(body, status_code=found.status, headers=found.headers, media_type="application/json")
