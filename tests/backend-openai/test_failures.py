"""What an upstream says when it does not serve, in every dialect."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from aiadmin_core.errors import AiAdminError, BadRequest, ContextLengthExceeded, NotAuthenticated, Overloaded
from aiadmin_openai.failures import Unavailable, UpstreamUnavailable, give_up, refused, reported, retry_after_s

URL = "http://10.0.0.5:8000/v1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def refusal(status: int, body: Any, *, retry_after: str | None = None, secret: str = "") -> AiAdminError | Unavailable:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return refused(URL, status, data, retry_after=retry_after, secret=secret)


@pytest.mark.parametrize(
    ("status", "body", "code", "message", "param"),
    [
        pytest.param(
            400,
            {"error": {"message": "bad n", "type": "invalid_request_error", "code": "bad_n", "param": "n"}},
            "bad_n",
            "bad n",
            "n",
            id="OpenAI",
        ),
        pytest.param(
            400,
            {"error": {"code": 400, "message": "the request exceeds", "type": "exceed_context_size_error"}},
            "context_length_exceeded",
            "the request exceeds",
            None,
            id="llama-server",
        ),
        pytest.param(
            400,
            {"object": "error", "message": "This model's maximum context length is 8 tokens.", "code": 400},
            "context_length_exceeded",
            "This model's maximum context length is 8 tokens.",
            None,
            id="vLLM",
        ),
        pytest.param(404, {"error": "model 'x' not found"}, "model_not_found", "model 'x' not found", None, id="text"),
        pytest.param(422, {"detail": [{"loc": ["n"]}]}, "invalid_value", '[{"loc":["n"]}]', None, id="FastAPI"),
        pytest.param(
            413,
            b"<html>",
            "invalid_value",
            "10.0.0.5:8000, which serves this model, answered 413 Request Entity Too Large.",
            None,
            id="a proxy",
        ),
        pytest.param(
            400,
            b"[" * 100_000,
            "invalid_value",
            "10.0.0.5:8000, which serves this model, answered 400 Bad Request.",
            None,
            id="deep",
        ),
        pytest.param(
            499,
            b"",
            "invalid_value",
            "10.0.0.5:8000, which serves this model, answered 499.",
            None,
            id="a status of its own",
        ),
    ],
)
def test_a_refusal_keeps_status_code_message_and_param(
    status: int, body: Any, code: str, message: str, param: str | None
) -> None:
    error = refusal(status, body)

    assert isinstance(error, BadRequest)
    assert (error.status, error.code, error.message, error.param) == (status, code, message, param)


def test_a_prompt_that_does_not_fit_is_that_error_whoever_says_so() -> None:
    error = refusal(400, {"error": {"message": "too long", "code": "context_length_exceeded", "param": "messages"}})

    assert isinstance(error, ContextLengthExceeded)
    assert (str(error), error.param) == ("too long", "messages")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_without_the_upstreams_words(status: int) -> None:
    """They like to repeat the first and last letters of the key."""
    error = refusal(status, {"error": {"message": "Incorrect API key: sk-ab***yz", "code": "invalid_api_key"}})

    assert isinstance(error, NotAuthenticated)
    assert (error.status, error.code) == (status, "invalid_api_key")
    assert "10.0.0.5:8000" in error.message
    assert "sk-ab" not in str(error)


def test_a_key_in_a_message_is_blotted_out() -> None:
    error = refusal(400, {"error": {"message": "you sent Bearer s3cret"}}, secret="s3cret")
    other = refusal(500, {"error": {"message": "you sent Bearer s3cret"}}, secret="s3cret")
    event = reported({"error": {"message": "you sent s3cret"}}, secret="s3cret")

    assert not any("s3cret" in str(one) for one in (error, other, event))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 307])
def test_another_upstream_is_asked_after_a_5xx_or_a_redirect(status: int) -> None:
    failure = refusal(status, {"error": {"message": "no luck"}})

    assert isinstance(failure, Unavailable)
    assert str(status) in failure.reason


def test_what_an_upstream_does_not_implement_is_no_reason_to_ask_another() -> None:
    error = refusal(501, {"error": {"message": "no backend", "code": "no_backend"}})

    assert isinstance(error, AiAdminError)
    assert (error.status, error.code) == (501, "no_backend")


def test_a_busy_upstream_says_when_to_come_back() -> None:
    busy = refusal(429, {"error": {"message": "slow down", "code": "rate_limited"}}, retry_after="1.5")
    loading = refusal(503, {}, retry_after="2")

    assert isinstance(busy, Unavailable)
    assert isinstance(busy.refusal, Overloaded)
    assert (busy.retry_after_s, busy.refusal.status, busy.refusal.retry_after_s) == (1.5, 429, 2)
    assert isinstance(loading, Unavailable)
    assert (loading.retry_after_s, loading.refusal) == (2.0, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("-3", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("Thu, 01 Jan 2026 00:00:10 GMT", 10.0),
        ("Thu, 01 Jan 2026 00:00:10", 10.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds


def test_giving_up_names_every_upstream_and_what_was_wrong() -> None:
    error = give_up("far", [Unavailable("http://a:1/v1", "no connection"), Unavailable("http://b:2/v1", "it broke")])

    assert isinstance(error, UpstreamUnavailable)
    assert error.status == 502
    assert "a:1: no connection" in error.message
    assert "b:2: it broke" in error.message


def test_giving_up_on_busy_upstreams_is_429() -> None:
    busy = refusal(429, {"error": {"message": "slow down"}})
    assert isinstance(busy, Unavailable)

    error = give_up("far", [busy])

    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", "slow down")
