"""One aiadmin stands before another: two installed servers, the real model behind the second."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("real_model")]

ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Say this is a test"}],
    "max_tokens": 12,
    "temperature": 0,
    "seed": 1,
}
ENDLESS: dict[str, Any] = ASKED | {"max_tokens": 4000, "stream": True, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def far(product: Any) -> Iterator[Any]:
    """The upstream."""
    with product.serve() as server:
        yield server


@pytest.fixture
def near(product: Any, far: Any, tmp_path: Path) -> Any:
    """An installation whose only model, `far`, is served by the other one."""
    near = type(product)(state=tmp_path)
    near.run("pull", f"openai:{far.url}/v1#smollm2", "--as", "far")
    return near


def client(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=60)


def until(condition: Callable[[], bool], *, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def test_the_answer_is_the_one_the_other_server_gives(near: Any, far: Any) -> None:
    """Whole and streamed, by every name, with what it cost."""
    near.run("cp", "far", "gpt-3.5-turbo")
    direct = client(far).chat.completions.create(model="smollm2", **ASKED)
    with near.serve() as server:
        whole = client(server).chat.completions.create(model="far", **ASKED)
        chunks = list(client(server).chat.completions.create(model="gpt-3.5-turbo", stream=True, **ASKED))
        (loaded,) = server.ps()

    assert direct.usage is not None
    assert whole.usage is not None
    assert whole.choices[0].message.content == direct.choices[0].message.content
    assert whole.choices[0].finish_reason == direct.choices[0].finish_reason
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == direct.choices[0].message.content
    counts = [(u.prompt_tokens, u.completion_tokens) for u in (whole.usage, direct.usage)]
    assert counts[0] == counts[1]
    assert (loaded["backend"], loaded["name"]) == ("openai", "far:latest")
    assert "in the server's own process" in str(loaded)


def test_a_model_that_points_at_its_own_server_is_refused_at_once(product: Any, tmp_path: Path) -> None:
    alone = type(product)(state=tmp_path)
    with alone.serve() as server:
        alone.run("pull", f"openai:{server.url}/v1?unchecked#me", "--as", "me")
        with pytest.raises(openai.BadRequestError) as caught:
            client(server).chat.completions.create(model="me", **ASKED)
        assert server.ps()[0]["stats"].get("n_waiting", 0) == 0

    assert caught.value.code == "loop_detected"
    assert "it has come through this server already" in caught.value.message


def test_a_refusal_is_the_other_servers(near: Any, far: Any) -> None:
    too_long = ASKED | {"messages": [{"role": "user", "content": "word " * 20_000}]}
    with near.serve() as server:
        errors = []
        for where, model in ((far, "smollm2"), (server, "far")):
            with pytest.raises(openai.BadRequestError) as caught:
                client(where).chat.completions.create(model=model, **too_long)
            errors.append(caught.value.body)

    assert errors[0] == errors[1]
    assert errors[0]["code"] == "context_length_exceeded"


def test_a_client_that_leaves_frees_its_place_on_the_other_server(near: Any, far: Any) -> None:
    with near.serve() as server:
        stream = client(server).chat.completions.create(model="far", **ENDLESS)
        next(iter(stream))
        assert far.metric("aiadmin_active_requests") == 1
        stream.close()

        until(lambda: far.metric("aiadmin_active_requests") == 0)


def test_a_server_that_dies_in_mid_stream_is_an_error_and_the_next_request_says_so(product: Any, near: Any) -> None:
    """The one that is killed is a third one, its runner ends with it."""
    with product.serve() as doomed:
        near.run("pull", f"openai:{doomed.url}/v1#smollm2", "--as", "doomed")
        with near.serve() as server:
            stream = client(server).chat.completions.create(model="doomed", **ENDLESS)
            for _ in range(5):
                next(stream)
            doomed.process.kill()
            with pytest.raises(openai.APIError) as caught:
                list(stream)
            assert "which serves this model" in str(caught.value)

            with pytest.raises(openai.APIStatusError) as refused:
                client(server).chat.completions.create(model="doomed", **ASKED)
            assert refused.value.status_code == 502
            (loaded,) = server.ps()
            assert "is down" in str(loaded)
            assert httpx.get(f"{server.url}/health").status_code == 200


def test_another_upstream_answers_for_one_that_is_not_there(near: Any, far: Any) -> None:
    near.run("pull", f"openai:http://127.0.0.1:9/v1,{far.url}/v1?unchecked#smollm2", "--as", "pair")
    with near.serve() as server:
        answer = client(server).chat.completions.create(model="pair", **ASKED)

    assert answer.choices[0].message.content
