"""Aliases as programs meet them: a running server, the real model, changes that hold at once."""

import json
from typing import Any

import gguf
import httpx
import numpy
import openai
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(300)]
ASK = [{"role": "user", "content": "Say this is a test."}]


@pytest.fixture(scope="module")
def place(product: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A product of its own, and a model in it that cannot be loaded."""
    place = product.clone(tmp_path_factory.mktemp("aliases") / "state")
    broken = tmp_path_factory.mktemp("broken") / "broken.gguf"
    writer = gguf.GGUFWriter(broken, "nobodys")  # an architecture that llama.cpp does not know
    writer.add_tensor("token_embd.weight", numpy.zeros((32, 32), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    place.run("pull", str(broken), "--as", "broken")
    return place


@pytest.fixture(scope="module")
def server(place: Any) -> Any:
    with place.serve("--log-level", "info") as server:
        yield server


def chat(server: Any, model: str, **more: Any) -> Any:
    body = {"model": model, "messages": ASK, "max_tokens": 8, "temperature": 0} | more
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=120)


def test_a_running_server_sees_an_alias_at_once_and_answers_by_its_name(server: Any, place: Any) -> None:
    assert chat(server, "gpt-4o").status_code == 404
    place.run("alias", "set", "gpt-4o", "smollm2", "--system", "You are terse.", "--stop", "zzz")
    answer = chat(server, "gpt-4o")
    assert (answer.status_code, answer.json()["model"]) == (200, "gpt-4o")
    assert answer.headers["x-served-model"] == "smollm2"
    assert "x-fallback-reason" not in answer.headers
    place.run("alias", "rm", "gpt-4o")
    assert chat(server, "gpt-4o").status_code == 404


def test_an_alias_shares_the_engine_of_its_model_whatever_it_says_of_sampling_and_system(
    server: Any, place: Any
) -> None:
    """Its system message is read, and is nobody else's."""
    plain = chat(server, "smollm2").json()
    place.run("alias", "set", "pirate", "smollm2", "--system", "Talk like a pirate, at length.", "--max-tokens", "3")
    told = chat(server, "pirate", max_tokens=None).json()
    assert told["usage"]["completion_tokens"] <= 3
    assert told["usage"]["prompt_tokens"] != plain["usage"]["prompt_tokens"]
    own = chat(server, "pirate", messages=[{"role": "system", "content": "Hi."}, *ASK]).json()
    assert (
        own["usage"]["prompt_tokens"]
        == (
            chat(server, "smollm2", messages=[{"role": "system", "content": "Hi."}, *ASK]).json()["usage"][
                "prompt_tokens"
            ]
        )
    )
    assert len([model for model in server.ps() if model["name"] == "smollm2:latest"]) == 1


def test_a_pattern_answers_for_every_name_it_fits_on_every_endpoint(server: Any, place: Any) -> None:
    place.run("alias", "set", "claude-*", "smollm2")
    with openai.OpenAI(base_url=server.base_url, api_key="none") as client:
        answer = client.chat.completions.create(model="claude-sonnet-9", messages=ASK, max_tokens=4)
        assert answer.model == "claude-sonnet-9"
        text = client.completions.create(model="claude-sonnet-9", prompt="One two", max_tokens=4)
        assert text.model == "claude-sonnet-9"
        vectors = client.embeddings.create(model="claude-sonnet-9", input="One two")
        assert (vectors.model, len(vectors.data)) == ("claude-sonnet-9", 1)
        assert "claude-*" in {model.id for model in client.models.list()}
        assert client.models.retrieve("claude-sonnet-9").model_extra["alias_of"] == "smollm2"
    body = {"model": "claude-x", "prompt": "hi", "options": {"num_predict": 2}, "stream": False}
    native = httpx.post(f"{server.url}/api/generate", json=body, timeout=120)
    assert native.json()["model"] == "claude-x"


def test_a_fallback_answers_for_a_model_that_is_missing_and_says_so(server: Any, place: Any) -> None:
    place.run("alias", "set", "best", "nonesuch", "--fallback", "smollm2", "--missing-ok")
    whole = chat(server, "best")
    assert (whole.status_code, whole.json()["model"]) == (200, "smollm2")
    assert whole.headers["x-served-model"] == "smollm2"
    assert "'nonesuch'" in whole.headers["x-fallback-reason"] or "best" in whole.headers["x-fallback-reason"]
    with httpx.stream(
        "POST",
        f"{server.url}/v1/chat/completions",
        json={"model": "best", "messages": ASK, "max_tokens": 3, "stream": True},
        timeout=120,
    ) as stream:
        chunks = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert {chunk["model"] for chunk in chunks} == {"smollm2"}
    shown = place.run("ps", AIADMIN_HOST=server.url).stderr
    assert "best was answered by smollm2:latest" in shown
    server.eventually(lambda it: any("'best' is answered by smollm2:latest, a fallback" in line for line in it.output))


def test_a_fallback_answers_for_a_server_that_is_not_there(server: Any, place: Any) -> None:
    """Which shows only when it is asked."""
    place.run("pull", "openai:http://127.0.0.1:9/v1?unchecked#away", "--as", "away")
    place.run("alias", "set", "near", "away", "--fallback", "smollm2")
    place.run("alias", "set", "lost", "away", "--fallback", "broken")

    answer = chat(server, "near")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-served-model"] == "smollm2"
    assert "No upstream of 'away" in answer.headers["x-fallback-reason"]
    with openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
        chunks = [*client.chat.completions.create(model="near", messages=ASK, max_tokens=8, stream=True)]  # type: ignore[call-overload]
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")

    both = chat(server, "lost")
    assert both.status_code == 502
    assert "No upstream" in both.json()["error"]["message"]
    assert "unknown model architecture" in both.json()["error"]["message"]
    assert chat(server, "away").status_code == 502


def test_a_fallback_answers_for_a_model_that_cannot_be_loaded(server: Any, place: Any) -> None:
    assert chat(server, "broken").status_code >= 500
    place.run("alias", "set", "sure", "broken", "--fallback", "smollm2")
    answer = chat(server, "sure")
    assert (answer.status_code, answer.json()["model"]) == (200, "smollm2")
    assert "unknown model architecture" in answer.headers["x-fallback-reason"]


def test_the_well_known_names_are_set_at_once(place: Any, server: Any) -> None:
    place.run("cp", "smollm2", "gpt-4")
    place.run("alias", "set", "gpt-5", "broken")
    place.run("alias", "set", "o3", "smollm2", "--system", "Mine.")
    done = place.run("alias", "openai", "smollm2").stderr
    assert "gpt-4 (a model has this name)" in done
    assert "gpt-5 (it stands for broken)" in done
    assert json.loads(place.run("alias", "show", "o3", "--json").stdout)["alias"]["system"] == "Mine."
    assert "These now stand for smollm2: gpt-3.5-turbo, gpt-4o, " in done
    assert chat(server, "gpt-4.1-nano-2025-04-14").json()["model"] == "gpt-4.1-nano-2025-04-14"
    assert place.run("alias", "openai", "smolm2", check=False).returncode == 1


def test_an_alias_may_name_a_draft_model_and_its_answers_stay_the_same(server: Any, place: Any) -> None:
    """The model itself, under another name: what it takes to be next is next."""
    place.run("cp", "smollm2", "small")
    place.run("alias", "set", "drafted", "smollm2", "--draft-model", "small")
    try:
        answers = [chat(server, name, max_tokens=24) for name in ("smollm2", "drafted")]
        assert [answer.status_code for answer in answers] == [200, 200]
        texts = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
        assert texts[0] == texts[1]
        assert "'small' guesses tokens for it" in [note for model in server.ps() for note in model["notes"]]
    finally:
        place.run("rm", "small")
    refused = chat(server, "drafted")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "draft_model"
    place.run("alias", "rm", "drafted")
