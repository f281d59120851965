"""Pydantic AI: agents with typed answers and tools."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

pydantic_ai = pytest.importorskip("pydantic_ai")
models = pytest.importorskip("pydantic_ai.models.openai")
openai_provider = pytest.importorskip("pydantic_ai.providers.openai")
ollama_provider = pytest.importorskip("pydantic_ai.providers.ollama")
embeddings = pytest.importorskip("pydantic_ai.embeddings.openai")

ASK = "Say: this is a test."
SHORT = {"temperature": 0, "max_tokens": 60}


class Trip(BaseModel):
    """Where to, and for how many days."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Bonn", "Trier"]
    days: Literal[1, 2, 3]


@pytest.fixture(params=["openai", "ollama"])
def model(request: Any, base_url: str) -> Any:
    """By its two providers that come here: Ollama's asks OpenAI's API, too."""
    if request.param == "openai":
        provider = openai_provider.OpenAIProvider(base_url=base_url, api_key="any")
    else:
        provider = ollama_provider.OllamaProvider(base_url=base_url)
    return models.OpenAIChatModel("smollm2", provider=provider, settings=SHORT)


async def test_it_chats(model: Any) -> None:
    answer = await pydantic_ai.Agent(model).run(ASK)

    assert "test" in answer.output.lower()
    assert answer.usage.output_tokens > 1


async def test_it_streams(model: Any) -> None:
    async with pydantic_ai.Agent(model).run_stream(ASK) as answer:
        texts = [text async for text in answer.stream_text(delta=True, debounce_by=None)]

    assert len(texts) > 3
    assert "test" in "".join(texts).lower()


@pytest.mark.parametrize("asked", ["by a tool", "by a format"])
async def test_an_answer_keeps_to_its_schema(model: Any, asked: str) -> None:
    output = Trip if asked == "by a tool" else pydantic_ai.NativeOutput(Trip)
    agent = pydantic_ai.Agent(model, output_type=output, retries=0, model_settings={"parallel_tool_calls": False})

    assert isinstance((await agent.run(ASK)).output, Trip)


async def test_a_tool_is_called_and_its_result_is_read(base_url: str) -> None:
    """The agent has to call a tool each time: its own, or the one that ends it."""
    provider = openai_provider.OpenAIProvider(base_url=base_url, api_key="any")
    model = models.OpenAIChatModel("smollm2", provider=provider, settings=SHORT | {"parallel_tool_calls": False})
    asked = []

    def weather(trip: Trip) -> str:
        """The weather of the next days."""
        asked.append(trip)
        return "Rain."

    limits = pydantic_ai.UsageLimits(tool_calls_limit=1)
    agent = pydantic_ai.Agent(model, tools=[weather], output_type=Trip, retries=0)
    with pydantic_ai.capture_run_messages() as said:
        try:
            assert isinstance((await agent.run("What is the weather in Bonn?", usage_limits=limits)).output, Trip)
        except pydantic_ai.UsageLimitExceeded:
            assert asked
    assert len(said) >= 2


async def test_it_embeds(base_url: str) -> None:
    provider = openai_provider.OpenAIProvider(base_url=base_url, api_key="any")
    model = embeddings.OpenAIEmbeddingModel("minilm", provider=provider)

    answer = await model.embed(["a cat", "a dog"], input_type="document")

    assert [len(vector) for vector in answer.embeddings] == [384, 384]
