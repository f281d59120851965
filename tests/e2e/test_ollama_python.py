"""Ollama's Python library against a real server and the real model."""

import json
from typing import Any

import httpx
import ollama
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]
ASK = [{"role": "user", "content": "Say: this is a test."}]
CHATML = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
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


def test_a_conversation_goes_on_from_its_context(client: Any) -> None:
    first = client.generate(model="smollm2", prompt="My name is Ada. Say hello.", options=SHORT)
    second = client.generate(model="smollm2", prompt="What is my name?", context=first.context, options=SHORT)
    alone = client.generate(model="smollm2", prompt="What is my name?", options=SHORT)

    assert len(first.context) == first.prompt_eval_count + first.eval_count
    assert second.context[: len(first.context)] == first.context
    assert second.prompt_eval_count > alone.prompt_eval_count
    assert client.generate(model="smollm2", prompt="Hi", raw=True, options=SHORT).context is None


def test_a_request_may_bring_its_own_template(client: Any) -> None:
    plain = client.generate(model="smollm2", prompt="Once upon a", raw=True, options=SHORT)
    same = client.generate(model="smollm2", prompt="Once upon a", template="{{ .Prompt }}", options=SHORT)

    assert same.response == plain.response
    with pytest.raises(ollama.ResponseError, match="line 1: there is no function 'upper'"):
        client.generate(model="smollm2", prompt="x", template="{{ upper .Prompt }}")


def test_a_model_is_made_copied_and_deleted(client: Any) -> None:
    done = client.create(
        model="pirate",
        from_="smollm2",
        system="You are a pirate.",
        template=CHATML,
        parameters={"temperature": 0, "num_predict": 5},
    )
    assert done.status == "success"
    client.copy("pirate", "pirate-too")
    client.delete("pirate")

    shown = client.show("pirate-too")
    answer = client.chat(model="pirate-too", messages=ASK)
    own = client.chat(
        model="smollm2", messages=[{"role": "system", "content": "You are a pirate."}, *ASK], options=SHORT
    )

    assert "SYSTEM" in shown.modelfile
    assert answer.eval_count == 5
    assert own.message.content.startswith(answer.message.content), "the template writes what the model's own does"
    client.delete("pirate-too")
    with pytest.raises(ollama.ResponseError, match="not found"):
        client.show("pirate-too")


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Bonn", "Ulm"]}},
            "required": ["city"],
        },
    },
}
CALLING = """{{- if .Tools }}<|im_start|>system
Call a tool: {{ range .Tools }}{{ .Function }}{{ end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}<|im_start|>{{ .Role }}
{{ if .ToolCalls }}[CALLS]
{{- range .ToolCalls }}{"do": "{{ .Function.Name }}", "with": {{ .Function.Arguments }}}[END]{{ end }}
{{- else }}{{ .Content }}{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
"""Calls are written in a form that no model has."""


def test_tools_are_called_in_the_form_that_a_template_in_gos_language_writes(client: Any, server: Any) -> None:
    client.create(model="caller", from_="smollm2", template=CALLING)
    body = {
        "model": "caller",
        "messages": [{"role": "user", "content": "How is the weather in Bonn?"}],
        "tools": [TOOL],
        "tool_choice": "required",
        "options": {"temperature": 0, "num_predict": 400},
        "stream": False,
    }
    first = httpx.post(f"{server.url}/api/chat", json=body, timeout=120).json()
    assert "tool_calls" in first["message"], first
    (call,) = first["message"]["tool_calls"]

    assert call["function"]["name"] == "get_weather"
    assert call["function"]["arguments"]["city"] in ("Bonn", "Ulm")
    result = {"role": "tool", "tool_name": "get_weather", "content": "It rains."}
    body |= {"messages": [*body["messages"], first["message"], result], "tool_choice": "none"}
    second = httpx.post(f"{server.url}/api/chat", json=body, timeout=120).json()
    assert second["message"]["content"].strip()
    client.delete("caller")
