"""litellm, by its providers for OpenAI, for servers like it, and for Ollama."""

import os
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for prices when it is imported
litellm = pytest.importorskip("litellm", reason="it has 140 MB and is installed by `nox -s clients`, not for every run")

ASK = [{"role": "user", "content": "Say: this is a test."}]
PROVIDERS = ("openai", "hosted_vllm", "lm_studio", "ollama_chat")


class Trip(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Bonn", "Trier"]
    days: Literal[1, 2, 3]


TOOL = {"type": "function", "function": {"name": "weather", "parameters": Trip.model_json_schema()}}


@pytest.fixture(params=PROVIDERS)
def given(request: Any, url: str, base_url: str) -> dict[str, Any]:
    """What every request needs."""
    provider = request.param
    place = url if provider.startswith("ollama") else base_url
    return {"model": f"{provider}/smollm2", "api_base": place, "api_key": "any", "temperature": 0, "max_tokens": 60}


def test_it_chats(given: dict[str, Any]) -> None:
    answer = litellm.completion(messages=ASK, **given)

    assert "test" in answer.choices[0].message.content.lower()
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_it_streams(given: dict[str, Any]) -> None:
    chunks = list(litellm.completion(messages=ASK, stream=True, stream_options={"include_usage": True}, **given))

    whole = litellm.completion(messages=ASK, **given)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 3


def test_an_answer_keeps_to_its_schema(given: dict[str, Any]) -> None:
    answer = litellm.completion(messages=ASK, response_format=Trip, **given)

    Trip.model_validate_json(answer.choices[0].message.content)


@pytest.mark.parametrize("provider", ["openai", "lm_studio"])  # hosted_vllm takes keywords out of the schemas of tools
def test_a_function_is_called_and_its_result_is_read(provider: str, base_url: str) -> None:
    given = {"model": f"{provider}/smollm2", "api_base": base_url, "api_key": "any", "temperature": 0, "max_tokens": 60}
    answer = litellm.completion(messages=ASK, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, **given)

    message = answer.choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "weather"
    Trip.model_validate_json(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
    answer = litellm.completion(messages=[*ASK, message, result], tools=[TOOL], tool_choice="none", **given)
    assert answer.choices[0].message.content


def test_by_ollamas_api_a_function_is_called_too(url: str) -> None:
    """`tool_choice` is left out there: a format that leaves little else to say takes its place."""
    given = {"model": "ollama_chat/smollm2", "api_base": url, "temperature": 0, "max_tokens": 40, "tools": [TOOL]}
    messages = [{"role": "user", "content": "What is the weather in Bonn?"}]
    schema = {"type": "json_schema", "json_schema": {"name": "none", "schema": {"type": "null"}}}
    message = litellm.completion(messages=messages, response_format=schema, **given).choices[0].message

    call = message.tool_calls[0]
    assert call.function.name == "weather"
    assert Trip.model_validate_json(call.function.arguments).city == "Bonn"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "Rain."} for call in message.tool_calls]
    assert litellm.completion(messages=[*messages, message, *results], **given).choices[0].message.content


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "ollama"])
def test_it_embeds(provider: str, url: str, base_url: str) -> None:
    place = url if provider == "ollama" else base_url

    answer = litellm.embedding(model=f"{provider}/minilm", input=["a", "b"], api_base=place, api_key="any")

    assert [len(item["embedding"]) for item in answer.data] == [384, 384]


def test_refusals_are_what_it_knows_them_as(base_url: str) -> None:
    given = {"api_base": base_url, "api_key": "any"}
    with pytest.raises(litellm.NotFoundError, match="no-such-model"):
        litellm.completion(model="openai/no-such-model", messages=ASK, **given)
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(model="openai/smollm2", messages=[{"role": "user", "content": "word " * 9000}], **given)
