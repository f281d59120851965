"""How OpenAI's API tells an error. Pure."""

from msgspec import Struct

from ...http.problem import Problem

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorBody(Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    """Path of the field that is wrong (`messages[0].role`)."""
    code: str


class Envelope(Struct, frozen=True, kw_only=True):
    error: ErrorBody


def envelope(problem: Problem) -> Envelope:
    """`{"error": {message, type, param, code}}`."""
    fallback = "invalid_request_error" if problem.status < 500 else "server_error"
    return Envelope(
        error=ErrorBody(
            message=problem.message,
            type=_TYPES.get(problem.status, fallback),
            param=problem.param,
            code=problem.code,
        )
    )
