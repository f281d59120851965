"""Pydantic AI: agents with typed answers and tools."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

pydantic_ai = pytest.importorskip("pydantic_ai")
direct = pytest.importorskip("pydantic_ai.direct")
messages = pytest.importorskip("pydantic_ai.messages")
models_base = pytest.importorskip("pydantic_ai.models")
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


async def test_a_tool_is_called_and_its_result_is_read(model: Any) -> None:
    """A model has to call what it is given where text is no answer, and may not where nothing is."""
    tool = models_base.ToolDefinition(name="weather", parameters_json_schema=Trip.model_json_schema())
    asked = [messages.ModelRequest.user_text_prompt(ASK)]
    calling = models_base.ModelRequestParameters(function_tools=[tool], allow_text_output=False)
    settings = {"parallel_tool_calls": False}

    answer = await direct.model_request(model, asked, model_settings=settings, model_request_parameters=calling)

    (call,) = answer.tool_calls
    assert call.tool_name == "weather"
    Trip.model_validate(call.args_as_dict())
    result = messages.ToolReturnPart(tool_name="weather", content="Rain.", tool_call_id=call.tool_call_id)
    said = [*asked, answer, messages.ModelRequest(parts=[result])]
    assert (await direct.model_request(model, said)).text


async def test_an_agent_runs_its_tools(model: Any) -> None:
    """It has to call one each time, the last of which is its answer."""

    def weather(trip: Trip) -> str:
        """The weather of the next days."""
        return "Rain."

    agent = pydantic_ai.Agent(model, tools=[weather], output_type=Trip, model_settings={"parallel_tool_calls": False})
    async with agent.iter("What is the weather in Bonn?") as run:
        async for node in run:
            if agent.is_call_tools_node(node):
                (call,) = node.model_response.tool_calls
                break

    assert call.tool_name in ("weather", "final_result")
    Trip.model_validate(call.args_as_dict().get("trip", call.args_as_dict()))


async def test_it_embeds(base_url: str) -> None:
    provider = openai_provider.OpenAIProvider(base_url=base_url, api_key="any")
    model = embeddings.OpenAIEmbeddingModel("minilm", provider=provider)

    answer = await model.embed(["a cat", "a dog"], input_type="document")

    assert [len(vector) for vector in answer.embeddings] == [384, 384]
