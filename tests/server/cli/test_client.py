"""Who listens at an address, and what errors say."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from aiadmin_server.cli._client import (
    Client,
    ServerNotRunning,
    ServerRefused,
    connect,
    lines_of,
    probe,
    refusal,
    version_in,
)


class Stranger(BaseHTTPRequestHandler):
    """Some other server, with a path like ours; streams an answer that breaks off."""

    def do_GET(self):
        if self.path == "/key":
            self._send(json.dumps({"key": self.headers["authorization"]}).encode(), "application/json")
            return
        self._send(b'{"version": "0.9.1"}', "application/json")

    def do_POST(self):
        first = b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n'
        self._send(
            first + b'event: error\ndata: {"error": {"message": "It died.", "code": "runner_died"}}\n\n',
            "text/event-stream",
        )

    def _send(self, body, media_type):
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


SEPARATORS = "a\u2028b\u2029c\x85d"


class Separators(Stranger):
    """Streams text as it is, nothing escaped."""

    def do_POST(self):
        data = json.dumps({"choices": [{"delta": {"content": SEPARATORS}}]}, ensure_ascii=False)
        self._send(f"data: {data}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")


@pytest.fixture
def separators() -> Iterator[str]:
    yield from listening(Separators)


@pytest.fixture
def stranger() -> Iterator[str]:
    yield from listening(Stranger)


def listening(handler) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_url() -> str:
    """An address where nobody listens."""
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"


def test_a_server_of_another_make_is_a_stranger(stranger):
    assert probe(stranger).kind == "stranger"
    with pytest.raises(ServerNotRunning, match="AIADMIN_HOST"):
        connect(stranger)


def test_where_nobody_listens_the_error_says_how_to_start(silent_url):
    assert probe(silent_url).kind == "nobody"
    with pytest.raises(ServerNotRunning, match="aiadmin serve"):
        connect(silent_url)
    with Client(silent_url) as client, pytest.raises(ServerNotRunning, match="aiadmin serve"):
        client.get("/api/ps")


def test_no_proxy_stands_between_the_command_and_its_server(stranger, silent_url, monkeypatch):
    monkeypatch.setenv("http_proxy", silent_url)
    monkeypatch.setenv("all_proxy", silent_url)

    with Client(stranger) as client:
        assert client.get("/") == {"version": "0.9.1"}


def test_an_error_event_in_mid_stream_is_raised_after_what_came_before(stranger):
    with Client(stranger) as client:
        chunks = client.stream("/v1/chat/completions", {})

        assert next(chunks)["choices"][0]["delta"]["content"] == "Hel"
        with pytest.raises(ServerRefused, match="It died") as raised:
            next(chunks)
    assert raised.value.code == "runner_died"


def test_a_version_that_cannot_be_read_is_unknown():
    assert version_in(httpx.Response(200, json={"version": "0.13.5", "aiadmin": "0.2.0"})) == "0.2.0"
    assert version_in(httpx.Response(200, json={"version": "0.1.0"})) == "0.1.0"
    assert version_in(httpx.Response(200, text="<html>")) == ""
    assert version_in(httpx.Response(401, json=[1])) == ""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "No.", "code": None}}, "No."),
        ({"error": "plain"}, "plain"),
        (None, "The server answered 500."),
        ([1], "The server answered 500."),
    ],
)
def test_every_shape_of_error_has_a_message(body, message):
    assert refusal(body, status=500).message == message


def test_the_key_is_sent_where_there_is_one_and_a_401_names_its_variable(stranger):
    with Client(stranger, "sk-1") as client:
        assert client.get("/key") == {"key": "Bearer sk-1"}
    with Client(stranger) as client:
        assert client.get("/key") == {"key": None}
    assert "AIADMIN_API_KEY" in refusal({"error": {"message": "Incorrect API key provided."}}, status=401).hint


def test_a_line_ends_at_a_line_feed_and_nowhere_else():
    """JSON holds U+2028, U+2029 and U+0085 as they are, and other characters that Python takes for an end of line."""
    text = 'data: {"text": "a\u2028b\u2029c\x85d\x0ce\x1cf"}\n\ndata: [DONE]'.encode()

    for n in (1, 2, 3, 1000):
        assert list(lines_of(text[start : start + n] for start in range(0, len(text), n))) == text.split(b"\n")


def test_a_streamed_answer_keeps_characters_that_look_like_ends_of_lines(separators):
    with Client(separators) as client:
        (chunk,) = client.stream("/v1/chat/completions", {})

    assert chunk["choices"][0]["delta"]["content"] == SEPARATORS
