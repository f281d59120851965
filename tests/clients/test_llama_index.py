"""LlamaIndex, by OpenAI's API and by Ollama's."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

openai_like = pytest.importorskip(
    "llama_index.llms.openai_like",
    reason="with its dozens of packages it is installed by `nox -s clients`, not for every run",
)
ollama = pytest.importorskip("llama_index.llms.ollama")
openai_embeddings = pytest.importorskip("llama_index.embeddings.openai_like")
ollama_embeddings = pytest.importorskip("llama_index.embeddings.ollama")
llms = pytest.importorskip("llama_index.core.llms")
tools = pytest.importorskip("llama_index.core.tools")

ASK = [llms.ChatMessage(role="user", content="Say: this is a test.")]


class Trip(BaseModel):
    """Where to, and for how many days."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Bonn", "Trier"]
    days: Literal[1, 2, 3]


def weather(city: str, days: int) -> str:
    """The weather of the next days."""
    return f"Rain in {city} for {days} days."


WEATHER = tools.FunctionTool.from_defaults(weather, fn_schema=Trip)


@pytest.fixture
def by_openai(base_url: str) -> Any:
    return openai_like.OpenAILike(
        model="smollm2",
        api_base=base_url,
        api_key="any",
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
        context_window=8192,
        temperature=0,
        max_tokens=60,
    )


@pytest.fixture
def by_ollama(url: str) -> Any:
    return ollama.Ollama(model="smollm2", base_url=url, temperature=0, additional_kwargs={"num_predict": 60})


@pytest.fixture(params=["by_openai", "by_ollama"])
def llm(request: Any) -> Any:
    """The same model, by each of the two APIs."""
    return request.getfixturevalue(request.param)


def test_it_chats(llm: Any) -> None:
    assert "test" in llm.chat(ASK).message.content.lower()


async def test_it_streams(llm: Any) -> None:
    chunks = [chunk async for chunk in await llm.astream_chat(ASK)]

    assert "".join(chunk.delta or "" for chunk in chunks) == llm.chat(ASK).message.content
    assert len(chunks) > 3


def test_it_completes(llm: Any) -> None:
    assert llm.complete("Say: this is a test.").text


def test_an_answer_keeps_to_its_schema(llm: Any) -> None:
    answer = llm.as_structured_llm(Trip).chat(ASK)

    assert isinstance(answer.raw, Trip)


def test_a_tool_is_called_and_its_result_is_read(by_openai: Any) -> None:
    answer = by_openai.chat_with_tools([WEATHER], chat_history=ASK, tool_required=True, allow_parallel_tool_calls=False)

    (call,) = by_openai.get_tool_calls_from_response(answer)
    _answered(by_openai, answer, [call])


def test_a_tool_is_called_by_ollamas_api(by_ollama: Any) -> None:
    """`tool_choice` is left out there: a format that leaves little else to say takes its place."""
    question = [llms.ChatMessage(role="user", content="What is the weather in Bonn?")]
    answer = by_ollama.chat(question, tools=[WEATHER.metadata.to_openai_tool()], format={"type": "null"})

    calls = by_ollama.get_tool_calls_from_response(answer)
    assert calls[0].tool_kwargs["city"] == "Bonn"
    _answered(by_ollama, answer, calls)


def _answered(llm: Any, answer: Any, calls: list[Any]) -> None:
    """The round trip's second half."""
    results = []
    for call in calls:
        assert call.tool_name == "weather"
        said = weather(**Trip.model_validate(call.tool_kwargs).model_dump())
        known_as = {"tool_call_id": call.tool_id, "name": call.tool_name}
        results.append(llms.ChatMessage(role="tool", content=said, additional_kwargs=known_as))
    assert llm.chat([*ASK, answer.message, *results]).message.content


def test_it_embeds(url: str, base_url: str) -> None:
    by_openai = openai_embeddings.OpenAILikeEmbedding(model_name="minilm", api_base=base_url, api_key="any")
    by_ollama = ollama_embeddings.OllamaEmbedding(model_name="minilm", base_url=url)

    found = by_openai.get_text_embedding_batch(["a cat", "a dog"])

    assert [len(vector) for vector in found] == [384, 384]
    assert by_ollama.get_text_embedding("a dog") == pytest.approx(found[1], abs=1e-4)
