"""What OpenAI's library makes of answers beyond reading them: its parsers, tool helpers and stream helpers."""

import asyncio
import contextlib
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from aiadmin_core.assemble import assemble
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.testing.fake import FakeTokenEngine

HELLO = [{"role": "user", "content": "hi"}]


class GetWeather(BaseModel):
    """Tells the weather."""

    city: Literal["Bonn", "Trier"]
    days: int


class Forecast(BaseModel):
    rain: bool
    cities: list[str]


CALL = '<tool_call>\n{"name": "GetWeather", "arguments": {"city": "Bonn", "days": 3}}\n</tool_call>'
TOOLS = [openai.pydantic_function_tool(GetWeather)]
FORECAST = '{"rain": true, "cities": ["Bonn"]}'


@pytest.fixture
def speaking(serve):
    """`async with speaking(text) as server`: the model writes `text`, as far as it is allowed to."""

    @contextlib.asynccontextmanager
    async def serving(text):
        engine = assemble(
            FakeTokenEngine(script=lambda _request, _choice: list(text.encode())),
            ModelSpec(name="fake", digest="", format="other", files=()),
        )
        async with serve(script=engine.generate, capabilities=engine.capabilities) as server:
            yield server
        await engine.close()

    return serving


async def test_parse_gives_the_model_that_was_asked_for(speaking):
    async with speaking(FORECAST) as server:
        answer = await server.openai.chat.completions.parse(model="echo", messages=HELLO, response_format=Forecast)
        assert answer.choices[0].message.parsed == Forecast(rain=True, cities=["Bonn"])


async def test_parse_reads_arguments_of_pydantic_function_tools(speaking):
    async with speaking(CALL) as server:
        answer = await server.openai.chat.completions.parse(
            model="echo", messages=HELLO, tools=TOOLS, response_format=Forecast
        )
        message = answer.choices[0].message
        (call,) = message.tool_calls
        assert call.function.parsed_arguments == GetWeather(city="Bonn", days=3)

        followed = [*HELLO, message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
        again = await server.openai.chat.completions.parse(model="echo", messages=followed, tools=TOOLS)
        assert again.choices[0].finish_reason == "tool_calls"


async def test_an_answer_that_was_cut_is_told_as_such(speaking):
    async with speaking(FORECAST) as server:
        with pytest.raises(openai.LengthFinishReasonError):
            await server.openai.chat.completions.parse(
                model="echo", messages=HELLO, response_format=Forecast, max_tokens=5
            )


async def test_the_stream_helper_tells_content_and_ends_with_what_was_asked_for(speaking):
    async with speaking(FORECAST) as server:
        asked = server.openai.chat.completions.stream(
            model="echo", messages=HELLO, response_format=Forecast, stream_options={"include_usage": True}
        )
        async with asked as stream:
            events = [event async for event in stream]
            answer = await stream.get_final_completion()
        assert "".join(event.delta for event in events if event.type == "content.delta") == FORECAST
        (done,) = [event for event in events if event.type == "content.done"]
        assert done.parsed == answer.choices[0].message.parsed == Forecast(rain=True, cities=["Bonn"])
        assert answer.usage.completion_tokens >= len(FORECAST)


async def test_the_stream_helper_tells_calls_as_they_come(speaking):
    async with speaking(f"{CALL}\n{CALL}") as server:
        asked = server.openai.chat.completions.stream(model="echo", messages=HELLO, tools=TOOLS, n=2)
        async with asked as stream:
            events = [event async for event in stream]
            answer = await stream.get_final_completion()
        done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
        assert [event.parsed_arguments for event in done] == [GetWeather(city="Bonn", days=3)] * 4
        for choice in answer.choices:
            assert choice.finish_reason == "tool_calls"
            assert [call.function.name for call in choice.message.tool_calls] == ["GetWeather"] * 2
            assert [call.type for call in choice.message.tool_calls] == ["function"] * 2


async def test_the_stream_helper_keeps_log_probabilities(speaking):
    async with speaking("hi") as server:
        asked = server.openai.chat.completions.stream(model="echo", messages=HELLO, logprobs=True, top_logprobs=2)
        async with asked as stream:
            await asyncio.wait_for(stream.until_done(), 30)
            answer = await stream.get_final_completion()
        assert [item.token for item in answer.choices[0].logprobs.content] == ["h", "i"]
