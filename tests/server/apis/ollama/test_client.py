"""The `ollama` package of PyPI, unchanged."""

import ollama
import pytest
from pydantic import BaseModel

from aiadmin_core.specs.constraint import JsonSchema
from aiadmin_core.specs.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta, Usage

HELLO = [{"role": "user", "content": "hi"}]


async def test_it_chats_whole_and_in_pieces(serve):
    async with serve() as server:
        client = ollama.AsyncClient(host=server.url)
        whole = await client.chat(model="echo", messages=HELLO, options={"num_predict": 5})
        assert whole.message.content == "one two three"
        assert (whole.done, whole.eval_count, whole.prompt_eval_count) == (True, 3, 5)
        pieces = [piece async for piece in await client.chat(model="echo", messages=HELLO, stream=True)]
        assert "".join(piece.message.content for piece in pieces) == "one two three"
        assert [piece.done for piece in pieces].count(True) == 1


async def test_it_generates_whole_and_in_pieces(serve):
    async with serve() as server:
        client = ollama.AsyncClient(host=server.url)
        assert (await client.generate(model="echo", prompt="hi")).response == "one two three"
        pieces = [piece async for piece in await client.generate(model="echo", prompt="hi", stream=True)]
        assert "".join(piece.response for piece in pieces) == "one two three"
        loaded = await client.generate(model="echo")
        assert loaded.done_reason == "load"


async def test_its_tools_are_python_functions(serve):
    """Calls go back with the conversation as the client keeps them."""

    def weather(city: str) -> str:
        """What it is like.

        Args:
            city: where
        """
        return f"rain in {city}"

    async def calling(request):
        if request.messages[-1].role == "tool":
            yield TextDelta(request.id, "It rains.")
        else:
            yield ReasoningDelta(request.id, "hmm")
            yield ToolCallDelta(request.id, 0, id="call_1", name="weather", arguments='{"city": "Bonn"}')
        yield Finished(request.id, "stop", Usage(prompt_tokens=1))

    async with serve(script=calling) as server:
        client = ollama.AsyncClient(host=server.url)
        messages = [*HELLO]
        first = await client.chat(model="echo", messages=messages, tools=[weather], think=True)
        assert first.message.thinking == "hmm"
        (call,) = first.message.tool_calls
        assert weather(**call.function.arguments) == "rain in Bonn"
        messages += [first.message, {"role": "tool", "content": "rain", "tool_name": call.function.name}]
        second = await client.chat(model="echo", messages=messages, tools=[weather])
        assert second.message.content == "It rains."
        (tool,) = server.engine.requests[0].input.tools
        assert tool.parameters["properties"]["city"]["type"] == "string"
        _, assistant, result = server.engine.requests[1].messages
        assert assistant.tool_calls[0].arguments == '{"city":"Bonn"}'
        assert result.content[0].tool_call_id == assistant.tool_calls[0].id


async def test_its_schemas_bind(serve):
    class City(BaseModel):
        name: str

    async with serve() as server:
        client = ollama.AsyncClient(host=server.url)
        await client.chat(model="echo", messages=HELLO, format=City.model_json_schema())
        assert server.engine.request.constraint == JsonSchema(schema=City.model_json_schema())


async def test_its_errors_have_a_status(serve):
    async with serve() as server:
        client = ollama.AsyncClient(host=server.url)
        with pytest.raises(ollama.ResponseError) as caught:
            await client.chat(model="nope", messages=HELLO)
        assert caught.value.status_code == 404


async def test_it_lists_shows_copies_and_deletes(serve, store, gguf):
    async with serve(plugins=[gguf]) as server:
        client = ollama.AsyncClient(host=server.url)
        assert {model.model for model in (await client.list()).models} == {"smollm2:latest", "small:latest"}
        shown = await client.show("smollm2")
        assert "tools" in shown.capabilities
        assert shown.modelinfo["llama.context_length"] == 8192
        assert (await client.copy("smollm2", "gpt-4")).status == "success"
        assert (await client.delete("smollm2")).status == "success"
        assert (await client.delete("gpt-4")).status == "success"
        with pytest.raises(ollama.ResponseError):
            await client.delete("gpt-4")
        assert (await client.ps()).models == []
