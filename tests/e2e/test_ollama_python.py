"""Ollama's Python library against a real server and the real model."""

import json
from typing import Any

import ollama
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]
ASK = [{"role": "user", "content": "Say: this is a test."}]
SHORT = {"num_predict": 40, "temperature": 0}


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    return ollama.Client(host=server.url)


def test_a_chat_is_answered_and_says_what_it_took(client: Any) -> None:
    answer = client.chat(model="smollm2", messages=ASK, options=SHORT)

    assert "test" in answer.message.content.lower()
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.eval_count > 0
    assert 0 < answer.eval_duration < answer.total_duration


def test_a_stream_gives_the_same_text_as_the_whole_answer(client: Any) -> None:
    whole = client.generate(model="smollm2", prompt="Once upon", raw=True, options=SHORT)

    pieces = list(client.generate(model="smollm2", prompt="Once upon", raw=True, options=SHORT, stream=True))

    assert "".join(piece.response for piece in pieces) == whole.response
    assert pieces[-1].eval_count == whole.eval_count


def test_an_answer_keeps_to_its_schema(client: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 99}}, "required": ["a"]}

    answer = client.chat(model="smollm2", messages=ASK, format=schema, options=SHORT)

    assert isinstance(json.loads(answer.message.content)["a"], int)


def test_a_model_is_listed_described_and_unloaded(client: Any) -> None:
    client.generate(model="smollm2")

    assert "smollm2:latest" in {model.model for model in client.list().models}
    assert client.show("smollm2").modelinfo["llama.context_length"] > 0
    assert client.ps().models[0].context_length > 0
    assert client.generate(model="smollm2", keep_alive=0).done_reason == "unload"
    assert client.ps().models == []


def test_a_model_that_cannot_think_says_so(client: Any) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat(model="smollm2", messages=ASK, think=True)
