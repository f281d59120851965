"""LangChain, by OpenAI's API and by Ollama's."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

langchain_openai = pytest.importorskip(
    "langchain_openai", reason="with its sixteen packages it is installed by `nox -s clients`, not for every run"
)
langchain_ollama = pytest.importorskip("langchain_ollama")
messages = pytest.importorskip("langchain_core.messages")

ASK = "Say: this is a test."


class Trip(BaseModel):
    """Where to, and for how many days."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Bonn", "Trier"]
    days: Literal[1, 2, 3]


@pytest.fixture
def by_openai(base_url: str) -> Any:
    return langchain_openai.ChatOpenAI(
        model="smollm2", base_url=base_url, api_key="any", temperature=0, max_tokens=60, stream_usage=True
    )


@pytest.fixture
def by_ollama(url: str) -> Any:
    return langchain_ollama.ChatOllama(model="smollm2", base_url=url, temperature=0, num_predict=60)


@pytest.fixture(params=["by_openai", "by_ollama"])
def chat(request: Any) -> Any:
    """The same model, by each of the two APIs."""
    return request.getfixturevalue(request.param)


def test_it_chats(chat: Any) -> None:
    answer = chat.invoke(ASK)

    assert "test" in answer.content.lower()
    assert answer.usage_metadata["output_tokens"] > 1


async def test_it_streams(chat: Any) -> None:
    chunks = [chunk async for chunk in chat.astream(ASK)]

    whole = sum(chunks[1:], chunks[0])
    assert whole.content == chat.invoke(ASK).content
    assert whole.usage_metadata["output_tokens"] > 1
    assert len(chunks) > 3


def test_several_at_once(chat: Any) -> None:
    answers = chat.batch([ASK, ASK, "Say: hello."])

    assert answers[0].content == answers[1].content
    assert "hello" in answers[2].content.lower()


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_an_answer_keeps_to_its_schema(by_openai: Any, method: str) -> None:
    answer = by_openai.with_structured_output(Trip, method=method).invoke(ASK)

    assert isinstance(answer, Trip)


def test_an_answer_keeps_to_its_schema_by_ollamas_api(by_ollama: Any) -> None:
    assert isinstance(by_ollama.with_structured_output(Trip).invoke(ASK), Trip)


@pytest.mark.parametrize("choice", ["any", "weather"])
def test_a_tool_is_called_and_its_result_is_read(by_openai: Any, choice: str) -> None:
    tools = {"name": "weather", "description": "The weather.", "parameters": Trip.model_json_schema()}
    calling = by_openai.bind_tools([tools], tool_choice=choice, parallel_tool_calls=False)

    answer = calling.invoke(ASK)

    _answered(by_openai.bind_tools([tools], tool_choice="none"), answer)


def test_a_tool_is_called_in_a_stream(by_openai: Any) -> None:
    tools = {"name": "weather", "description": "The weather.", "parameters": Trip.model_json_schema()}
    chunks = list(by_openai.bind_tools([tools], tool_choice="any", parallel_tool_calls=False).stream(ASK))

    whole = sum(chunks[1:], chunks[0])
    (call,) = whole.tool_calls
    Trip.model_validate(call["args"])
    assert not whole.invalid_tool_calls


def test_a_tool_is_called_by_ollamas_api(by_ollama: Any) -> None:
    """`tool_choice` is left out there: a format that leaves little else to say takes its place."""
    tools = {"name": "weather", "description": "The weather.", "parameters": Trip.model_json_schema()}
    calling = by_ollama.bind_tools([tools])

    answer = calling.invoke("What is the weather in Bonn?", format={"type": "null"}, options={"num_predict": 40})

    assert answer.tool_calls[0]["args"]["city"] == "Bonn"
    _answered(calling, answer)


def _answered(chat: Any, answer: Any) -> None:
    """The round trip's second half."""
    for call in answer.tool_calls:
        assert call["name"] == "weather"
        Trip.model_validate(call["args"])
    assert answer.tool_calls
    results = [messages.ToolMessage("Rain.", tool_call_id=call["id"]) for call in answer.tool_calls]
    assert chat.invoke([messages.HumanMessage(ASK), answer, *results]).text


def test_it_embeds(url: str, base_url: str) -> None:
    """`check_embedding_ctx_length=False`: else texts are sent as tokens of OpenAI's own vocabulary."""
    by_openai = langchain_openai.OpenAIEmbeddings(
        model="minilm", base_url=base_url, api_key="any", check_embedding_ctx_length=False
    )
    by_ollama = langchain_ollama.OllamaEmbeddings(model="minilm", base_url=url)

    found = by_openai.embed_documents(["a cat", "a dog"])

    assert [len(vector) for vector in found] == [384, 384]
    assert by_ollama.embed_query("a dog") == pytest.approx(found[1], abs=1e-4)
