"""The documentation's example of an API, as a stranger would publish and use it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "aiadmin-api-cohere"
HELLO = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture(scope="module")
def cohere_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the example's wheel in it, beside nothing else."""
    dist, site = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(dist), str(EXAMPLE)], check=True)
    wheel = next(dist.glob("aiadmin_api_cohere-*.whl"))
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    return site


@pytest.fixture(scope="module")
def client(product: Any, cohere_site: Path, echo_site: Path, tmp_path_factory: Any) -> Iterator[httpx.Client]:
    own = product.clone(tmp_path_factory.mktemp("cohere") / "state")
    own.environment["PYTHONPATH"] = os.pathsep.join([str(cohere_site), str(echo_site), str(ROOT / "tests" / "plugins")])
    with (
        own.serve(AIADMIN_PLUGINS="echo,cohere", AIADMIN_UNKNOWN_FIELDS="refuse") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of each event of a stream."""
    found = []
    for frame in text.strip().split("\n\n"):
        name, data = frame.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_it_is_under_80_lines() -> None:
    code = [line for path in EXAMPLE.rglob("src/**/*.py") for line in path.read_text().splitlines()]
    assert sum(bool(line.strip()) for line in code) < 80


def test_it_answers(client: httpx.Client) -> None:
    answer = client.post("/v2/chat", json=HELLO).json()

    assert answer["message"]["content"][0]["text"].strip() == "hello there"
    assert answer["finish_reason"] == "COMPLETE"


def test_it_streams_named_events_several_for_one_of_core_s(client: httpx.Client) -> None:
    response = client.post("/v2/chat", json=HELLO | {"stream": True})
    named = events(response.text)

    assert response.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in named]
    assert (names[0], names[-2:]) == ("message-start", ["content-end", "message-end"])
    deltas = [data["delta"]["message"]["content"]["text"] for name, data in named if name == "content-delta"]
    assert "".join(deltas).strip() == "hello there"
    assert named[-1][1]["delta"]["finish_reason"] == "COMPLETE"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"p": 0.5}, "Unsupported parameter: 'p'"),
        ({"k": -1}, "'k' must be between 0 and"),
        ({"p": "much"}, "Invalid value for 'p'"),
        ({"tools": []}, "Unsupported parameter: 'tools': the field is unknown"),
        ({"messages": []}, "Invalid value for 'messages'"),
        ({"messages": [{"role": "user"}]}, "Missing required parameter: 'messages[0].content'"),
    ],
)
def test_it_refuses_by_its_own_names_in_its_own_envelope(client: httpx.Client, fields: Any, said: str) -> None:
    response = client.post("/v2/chat", json=HELLO | fields)

    assert response.status_code == 400
    assert list(response.json()) == ["message"]
    assert said in response.json()["message"]


def test_an_unknown_model_and_an_unknown_path_are_told_in_its_envelope(client: httpx.Client) -> None:
    for response in (client.post("/v2/chat", json=HELLO | {"model": "nobody"}), client.post("/v2/embed", json={})):
        assert response.status_code == 404
        assert list(response.json()) == ["message"]


def test_it_is_in_the_openapi_document(client: httpx.Client) -> None:
    document = client.get("/schema/openapi.json").json()

    operation = document["paths"]["/v2/chat"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ChatRequest")
    fields = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"model", "messages", "p", "k", "stop_sequences"} <= set(fields)


def test_a_dead_engine_is_told_in_its_envelope_as_the_stream_s_last_event(client: httpx.Client) -> None:
    long = HELLO | {"messages": [{"role": "user", "content": "word " * 20_000}], "stream": True}
    with client.stream("POST", "/v2/chat", json=long) as response:
        lines = response.iter_lines()
        read = [next(lines)]
        for model in httpx.get(client.base_url.join("/api/ps")).json()["models"]:
            os.kill(model["pid"], 9)
        read += list(lines)

    name, data = events("\n".join(read))[-1]
    assert name == "error"
    assert list(data) == ["message"]
    assert "SIGKILL" in data["message"]
    assert client.post("/v2/chat", json=HELLO).status_code == 200
