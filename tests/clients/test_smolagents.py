"""smolagents, by its model for servers like OpenAI's."""

from typing import Any

import pytest

smolagents = pytest.importorskip(
    "smolagents", reason="it needs Pillow and is installed by `nox -s clients`, not for every run"
)

ASK = [{"role": "user", "content": [{"type": "text", "text": "Say: this is a test."}]}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn", "Trier"]}},
    "required": ["city"],
    "additionalProperties": False,
}


@smolagents.tool
def weather(city: str) -> str:
    """The weather of tomorrow.

    Args:
        city: Where.
    """
    return f"Rain in {city}."


@pytest.fixture
def model(base_url: str) -> Any:
    return smolagents.OpenAIServerModel(
        model_id="smollm2", api_base=base_url, api_key="any", temperature=0, max_tokens=60, parallel_tool_calls=None
    )


def test_it_chats(model: Any) -> None:
    answer = model.generate(ASK)

    assert "test" in answer.content.lower()
    assert answer.token_usage.output_tokens > 1


def test_it_streams(model: Any) -> None:
    deltas = list(model.generate_stream(ASK))

    assert "".join(delta.content or "" for delta in deltas) == model.generate(ASK).content
    assert deltas[-1].token_usage.output_tokens > 1


def test_an_answer_keeps_to_its_schema(model: Any) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}}

    assert model.generate(ASK, response_format=schema).content in ('{"city": "Bonn"}', '{"city": "Trier"}')


def test_an_agent_calls_its_tools_until_it_ends(model: Any) -> None:
    """Every step has to call a tool; after two of them smolagents asks for the answer in words."""
    agent = smolagents.ToolCallingAgent(tools=[weather], model=model, max_steps=2, verbosity_level=0)

    answer = agent.run("What is the weather in Bonn?")

    steps = [step for step in agent.memory.steps if isinstance(step, smolagents.ActionStep)]
    assert steps[0].tool_calls[0].name in ("weather", "final_answer")
    assert answer is not None
