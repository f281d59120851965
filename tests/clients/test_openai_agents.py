"""OpenAI's Agents SDK, by its model for chat completions."""

from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict

agents = pytest.importorskip(
    "agents", reason="with its dozen of packages it is installed by `nox -s clients`, not for every run"
)

ASK = "Say: this is a test."


class Trip(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Bonn", "Trier"]
    days: Literal[1, 2, 3]


@pytest.fixture
async def agent(base_url: str) -> Any:
    agents.set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield agents.Agent(
            name="Guide",
            instructions="You are brief.",
            model=agents.OpenAIChatCompletionsModel(model="smollm2", openai_client=client),
            model_settings=agents.ModelSettings(temperature=0, max_tokens=60),
        )


async def test_it_chats(agent: Any) -> None:
    answer = await agents.Runner.run(agent, ASK)

    assert "test" in answer.final_output.lower()
    assert answer.context_wrapper.usage.output_tokens > 1


async def test_it_streams(agent: Any) -> None:
    answer = agents.Runner.run_streamed(agent, ASK)

    deltas = [
        event.data.delta
        async for event in answer.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]

    assert "".join(deltas) == answer.final_output
    assert len(deltas) > 3


async def test_an_answer_keeps_to_its_schema(agent: Any) -> None:
    answer = await agents.Runner.run(agent.clone(output_type=Trip), ASK)

    assert isinstance(answer.final_output, Trip)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_is_called_and_its_result_is_read(agent: Any, stream: bool) -> None:
    asked = []

    @agents.function_tool
    def weather(city: Literal["Bonn", "Trier"], days: Literal[1, 2, 3]) -> str:
        """The weather of the next days."""
        asked.append((city, days))
        return "Rain."

    settings = agents.ModelSettings(temperature=0, max_tokens=60, tool_choice="required", parallel_tool_calls=False)
    guide = agent.clone(tools=[weather], model_settings=settings)
    if stream:
        answer = agents.Runner.run_streamed(guide, "What is the weather in Bonn?", max_turns=3)
        async for _ in answer.stream_events():
            pass
    else:
        answer = await agents.Runner.run(guide, "What is the weather in Bonn?", max_turns=3)

    assert asked
    assert asked[0][0] in ("Bonn", "Trier")
    assert isinstance(answer.final_output, str)
