"""What an upstream says when it does not serve, as our errors. Pure; used by the engine.

A 4xx is carried through under its own status, code, message and param. Everything else (no connection, silence, 5xx,
429) is `Unavailable`: worth another upstream as long as nothing of the answer has been given out.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from aiadmin_core.errors import AiAdminError, BadRequest, ContextLengthExceeded, NotAuthenticated, Overloaded

from .remote import host_of

MAX_MESSAGE = 2000
"""Characters of an upstream's message that are repeated."""

_CODES = {401: "invalid_api_key", 403: "permission_denied", 404: "model_not_found", 429: "rate_limit_exceeded"}
"""Where an upstream gives a status and no code."""
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
}
"""Where an error event gives a type and no status."""


class Unavailable(Exception):
    """An upstream could not serve; another may."""

    def __init__(
        self, url: str, reason: str, *, retry_after_s: float | None = None, refusal: AiAdminError | None = None
    ) -> None:
        super().__init__(f"{host_of(url)}: {reason}")
        self.url = url
        self.reason = reason
        self.retry_after_s = retry_after_s
        """Where the upstream is well, and busy: seconds until it wants to be asked again."""
        self.refusal = refusal
        """What to raise where no other upstream can serve; None: `UpstreamUnavailable`."""


class StreamBroken(Exception):
    """What arrived is not (or not all of) an answer."""


class UpstreamUnavailable(AiAdminError):
    """No upstream served the request."""

    code, status = "upstream_unavailable", 502


class UpstreamError(AiAdminError):
    """An upstream reported an error after it had accepted the request."""

    code, status = "upstream_error", 502


def give_up(model: str, failures: Sequence[Unavailable]) -> AiAdminError:
    """What the client is told when no try is left."""
    if failures and all(failure.refusal for failure in failures):
        assert failures[-1].refusal
        return failures[-1].refusal
    reasons = "; ".join(dict.fromkeys(map(str, failures))) or "it is being unloaded"
    return UpstreamUnavailable(
        f"No upstream of '{model}' answered: {reasons}.",
        hint="Check that the server runs and listens at that address.",
    )


def refused(url: str, status: int, body: bytes, *, retry_after: str | None, secret: str) -> AiAdminError | Unavailable:
    """The error for an HTTP response that is no success. `secret` never appears in it."""
    message, code, param = read_error(body)
    message = redact(message, secret)
    if status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED:
        reason = f"it answered {_phrase(status)}" + (f": {message[:300]}" if message else "")
        wait_s = retry_after_s(retry_after, datetime.now(UTC)) if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return Unavailable(url, reason, retry_after_s=wait_s)
    if status < 400:
        return Unavailable(url, f"it answered {_phrase(status)}: it wants to be called at another address")
    error = _refusal(host_of(url), status, code, message)
    error.status, error.param = status, param
    error.code = code or _CODES.get(status, error.code)
    if status != HTTPStatus.TOO_MANY_REQUESTS:
        return error
    wait_s = retry_after_s(retry_after, datetime.now(UTC))
    if isinstance(error, Overloaded) and wait_s is not None:
        error.retry_after_s = math.ceil(wait_s)
    return Unavailable(url, "it is busy (429)", retry_after_s=wait_s, refusal=error)


def _refusal(host: str, status: int, code: str, message: str) -> AiAdminError:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        # Their messages like to repeat parts of the key.
        return NotAuthenticated(
            f"{host}, which serves this model, refuses the server's API key ({_phrase(status)}).",
            hint="It is read from the environment variable that the model was pulled with (`?key=VARIABLE`), where "
            "`aiadmin serve` was started.",
        )
    if code == ContextLengthExceeded.code and message:
        error = ContextLengthExceeded(n_prompt=0, n_ctx=0)  # the numbers are in the upstream's words
        error.message, error.hint = message, ""
        return error
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Overloaded(message or f"{host}, which serves this model, is busy.")
    return BadRequest(message or f"{host}, which serves this model, answered {_phrase(status)}.")


def reported(payload: Any, *, secret: str) -> AiAdminError:
    """The error for an error object that came instead of a chunk."""
    message, code, param = _read_object(payload)
    error = UpstreamError(redact(message, secret) or "The upstream reported an error without a message.", param=param)
    status = _status(payload)
    error.status = status or error.status
    error.code = code or _CODES.get(error.status, error.code)
    return error


def read_error(body: bytes) -> tuple[str, str, str | None]:
    """Message, code ("" where there is none) and param of an error response, whichever server wrote it."""
    try:
        return _read_object(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", "", None  # an HTML page of some proxy


def _read_object(raw: Any) -> tuple[str, str, str | None]:
    """`{"error": {...}}` (OpenAI), `{"error": "..."}` (Ollama), `{"message": ...}` (older vLLM), `{"detail": ...}`."""
    outer = raw if isinstance(raw, dict) else {}
    error = outer.get("error", outer)
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message") or outer.get("detail") or ""
    message = message if isinstance(message, str) else msgspec.json.encode(message).decode()
    code, param = error.get("code"), error.get("param")
    if not isinstance(code, str):  # llama-server and vLLM repeat the status there
        code = ""
    # llama-server has a type for it, vLLM only words.
    if error.get("type") == "exceed_context_size_error" or (not code and "maximum context length" in message):
        code = "context_length_exceeded"
    return message[:MAX_MESSAGE], code, param if isinstance(param, str) else None


def _status(raw: Any) -> int | None:
    error = raw.get("error", raw) if isinstance(raw, dict) else None
    if not isinstance(error, dict):
        return None
    values = [error.get("status"), error.get("code"), _STATUSES.get(str(error.get("type")))]
    return next((value for value in values if type(value) is int and 400 <= value < 600), None)


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """Seconds a `Retry-After` header asks for: a number, or a date."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def in_words(error: httpx.HTTPError | httpx.StreamError) -> str:
    """Why a connection did not give an answer, in words."""
    match error:
        case httpx.ConnectTimeout():
            return "no connection in time"
        case httpx.TimeoutException():
            return "it was silent for too long"
        case httpx.ConnectError():
            return f"no connection ({error})"
        case httpx.TransportError() | httpx.StreamError():
            return "the connection broke"
        case _:
            return type(error).__name__


def redact(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
