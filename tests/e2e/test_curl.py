"""curl against a real server and the real model."""

import json
import subprocess
from typing import Any

import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]
CHAT = {"model": "gpt-3.5-turbo", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello!"}]}


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_a_chat_is_answered_as_json(server: Any) -> None:
    url = f"{server.url}/v1/chat/completions"
    body = json.loads(curl(url, "-H", "Content-Type: application/json", "-d", json.dumps(CHAT)))

    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"


def test_the_content_type_that_curl_sends_by_itself_is_accepted(server: Any) -> None:
    assert "choices" in json.loads(curl(f"{server.url}/v1/chat/completions", "-d", json.dumps(CHAT)))


def test_a_stream_is_data_lines_with_done_at_the_end(server: Any) -> None:
    told = curl("-N", f"{server.url}/v1/chat/completions", "-d", json.dumps(CHAT | {"stream": True})).split("\n\n")
    lines = [line for line in told if not line.startswith(":")]  # comments, where it takes its time

    assert lines[-2] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-2])


def test_malformed_json_is_refused_in_openais_envelope(server: Any) -> None:
    status = ["-w", "\n%{http_code}"]
    body, code = curl(*status, f"{server.url}/v1/chat/completions", "-d", '{"model": ').rsplit("\n", 1)

    assert code == "400"
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_health_says_ok(server: Any) -> None:
    assert json.loads(curl(f"{server.url}/health"))["status"] == "ok"
