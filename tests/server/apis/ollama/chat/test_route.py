"""`/api/chat` over HTTP: lines as Ollama's clients read them."""

import base64
import json
import re

import pytest

from aiadmin_core.errors import Overloaded
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.constraint import JsonObject, JsonSchema
from aiadmin_core.specs.content import AudioPart, ImagePart, TextPart, ToolResultPart
from aiadmin_core.specs.events import (
    Alternative,
    Failed,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from aiadmin_core.specs.model import EngineOptions

HELLO = [{"role": "user", "content": "hi"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def chat(server, **fields):
    body = {"model": "echo", "messages": HELLO} | fields
    return await server.http.post("/api/chat", json={key: value for key, value in body.items() if value is not ...})


def lines(response) -> list[dict]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def timed(request):
    """One word, with everything known of what it took."""
    yield Started(request.id, 7)
    yield TextDelta(request.id, "word")
    usage = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3, prefill_s=0.25, decode_s=0.5)
    yield Finished(request.id, "length", usage)


async def test_an_answer_streams_unless_told_otherwise(serve):
    """Each line is a JSON object; the last has no text, says that it is done, and why."""
    async with serve() as server:
        *pieces, last = lines(await chat(server))
        assert "".join(piece["message"]["content"] for piece in pieces) == "one two three"
        assert {piece["done"] for piece in pieces} == {False}
        assert all(piece["message"]["role"] == "assistant" and piece["model"] == "echo" for piece in [*pieces, last])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", last["created_at"])
        assert (last["done"], last["done_reason"], last["message"]["content"]) == (True, "stop", "")
        assert (last["prompt_eval_count"], last["prompt_eval_cached_count"], last["eval_count"]) == (5, 2, 3)


async def test_the_last_line_tells_what_it_took_in_nanoseconds(serve):
    async with serve(script=timed) as server:
        last = lines(await chat(server))[-1]
        assert last["done_reason"] == "length"
        assert (last["prompt_eval_duration"], last["eval_duration"]) == (250_000_000, 500_000_000)
        assert isinstance(last["total_duration"], int)
        assert "load_duration" not in last, "it was loaded"


async def test_an_answer_in_one_piece(serve):
    """It has text and metrics in one object."""
    async with serve(script=timed) as server:
        response = await chat(server, stream=False)
        assert response.headers["content-type"] == "application/json"
        body = response.json()
        assert body["message"] == {"role": "assistant", "content": "word"}
        assert (body["done"], body["eval_count"], body["eval_duration"]) == (True, 2, 500_000_000)


async def test_thoughts_and_calls_have_fields_of_their_own(serve):
    """A call is told once it is whole, its arguments as an object."""

    async def calling(request):
        yield ReasoningDelta(request.id, "hmm")
        yield TextDelta(request.id, "Let me see.")
        yield ToolCallDelta(request.id, 0, id="call_1", name="weather")
        yield ToolCallDelta(request.id, 0, arguments='{"city":')
        yield ToolCallDelta(request.id, 0, arguments='"Bonn"}')
        yield ToolCallDelta(request.id, 1, id="call_2", name="time", arguments="")
        yield Finished(request.id, "tool_calls", Usage(prompt_tokens=1))

    calls = [
        {"id": "call_1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Bonn"}}},
        {"id": "call_2", "function": {"index": 1, "name": "time", "arguments": {}}},
    ]
    async with serve(script=calling) as server:
        messages = [line["message"] for line in lines(await chat(server, tools=[WEATHER]))]
        assert [message["thinking"] for message in messages if "thinking" in message] == ["hmm"]
        assert "".join(message["content"] for message in messages) == "Let me see."
        assert [call for message in messages for call in message.get("tool_calls", ())] == calls
        whole = (await chat(server, tools=[WEATHER], stream=False)).json()
        assert whole["message"] == {
            "role": "assistant",
            "content": "Let me see.",
            "thinking": "hmm",
            "tool_calls": calls,
        }
        assert whole["done_reason"] == "stop"


async def test_a_call_that_was_cut_off_is_no_call(serve):
    async def cut(request):
        yield ToolCallDelta(request.id, 0, id="call_1", name="weather", arguments='{"city": "Bo')
        yield Finished(request.id, "length", Usage(prompt_tokens=1))

    async with serve(script=cut) as server:
        body = (await chat(server, tools=[WEATHER], stream=False)).json()
        assert (body["message"], body["done_reason"]) == ({"role": "assistant", "content": ""}, "length")


async def test_log_probabilities_stand_beside_the_message(serve):
    async def scored(request):
        token = TokenLogprob(1, b"hi", -0.5, (Alternative(1, b"hi", -0.5), Alternative(2, b"\xff", float("-inf"))))
        yield TextDelta(request.id, "hi", logprobs=(token,))
        yield Finished(request.id, "stop", Usage(prompt_tokens=1))

    async with serve(script=scored) as server:
        first, last = lines(await chat(server, logprobs=True, top_logprobs=2))
        assert first["logprobs"] == [
            {
                "token": "hi",
                "logprob": -0.5,
                "bytes": [104, 105],
                "top_logprobs": [
                    {"token": "hi", "logprob": -0.5, "bytes": [104, 105]},
                    {"token": "\ufffd", "logprob": -9999.0, "bytes": [255]},
                ],
            }
        ]
        assert "logprobs" not in last
        assert server.engine.request.sampling.logprobs == 2


async def test_a_conversation_with_calls_without_ids_keeps_calls_and_results_together(serve):
    """Results say at most the tool's name: each belongs to the first call of it that has none."""
    call = {"function": {"name": "weather", "arguments": {"city": "Bonn"}}}
    messages = [
        {"role": "System", "content": "Be brief."},
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "thinking": "hmm", "tool_calls": [call, {"function": {"name": "time"}}]},
        {"role": "tool", "content": "noon", "tool_name": "time"},
        {"role": "tool", "content": "rain"},
    ]
    async with serve() as server:
        assert (await chat(server, messages=messages)).status_code == 200
        system, _, assistant, time, weather = server.engine.request.messages
        assert system.role == "system"
        assert assistant.reasoning == "hmm"
        assert [(one.name, one.arguments) for one in assistant.tool_calls] == [
            ("weather", '{"city":"Bonn"}'),
            ("time", "{}"),
        ]
        ids = [one.id for one in assistant.tool_calls]
        assert weather.content == (ToolResultPart(tool_call_id=ids[0], content=(TextPart("rain"),)),)
        assert time.content == (ToolResultPart(tool_call_id=ids[1], content=(TextPart("noon"),)),)


async def test_images_are_base64_and_may_hold_sound(serve):
    png, wav = b"\x89PNG...", b"RIFF....WAVE"
    images = [base64.b64encode(data).decode() for data in (png, wav)]
    async with serve() as server:
        await chat(server, messages=[{"role": "user", "content": "?", "images": images}])
        assert server.engine.request.messages[0].content == (
            ImagePart(data=png, media_type="image/png"),
            AudioPart(data=wav, format="wav"),
            TextPart("?"),
        )
        wrong = await chat(server, messages=[{"role": "user", "images": ["data:image/png;base64,AA=="]}])
        assert wrong.status_code == 400
        assert "'messages[0].images[0]' is not valid base64" in wrong.json()["error"]


async def test_what_an_answer_must_look_like(serve):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for given, wanted in (("json", JsonObject()), (schema, JsonSchema(schema=schema)), ("", None)):
        async with serve() as server:
            assert (await chat(server, format=given)).status_code == 200
            assert server.engine.request.constraint == wanted
    async with serve() as server:
        assert (await chat(server, format="xml")).json() == {
            "error": "'format' must be 'json' or a JSON schema: an object."
        }


@pytest.mark.parametrize(("think", "effort"), [(..., None), (True, "medium"), (False, "none"), ("high", "high")])
async def test_think_says_how_much(serve, think, effort):
    async with serve() as server:
        assert (await chat(server, think=think)).status_code == 200
        assert server.engine.request.reasoning_effort == effort


async def test_a_model_that_cannot_is_told_in_the_words_that_clients_look_for(serve):
    """They try again without the field."""
    async with serve(capabilities=Capabilities()) as server:
        tools = await chat(server, tools=[WEATHER], options={"temperature": 1})
        assert tools.status_code == 400
        assert "does not support tools" in tools.json()["error"]
        thinking = await chat(server, think=True)
        assert thinking.status_code == 400
        assert "does not support thinking" in thinking.json()["error"]
        assert (await chat(server, think=False)).status_code == 200
        schema = await chat(server, format="json")
        assert "'format'" in schema.json()["error"]


@pytest.mark.parametrize("stop", ["", []])
async def test_an_empty_stop_asks_for_nothing(serve, stop):
    async with serve() as server:
        assert (await chat(server, options={"stop": stop})).status_code == 200
        assert server.engine.request.sampling.stop == ()


async def test_options_reach_the_engine_and_the_lease(serve):
    options = {
        "num_predict": 9,
        "temperature": 0.1,
        "seed": 4,
        "stop": "\n",
        "repeat_penalty": 1.2,
        "num_ctx": 2048,
        "num_gpu": 0,
    }
    async with serve() as server:
        response = await chat(server, options=options | {"num_keep": 4, "foo": 1}, keep_alive="5m")
        assert response.headers["x-ignored-params"] == "options.num_keep, options.foo"
        sampling = server.engine.request.sampling
        assert (sampling.max_tokens, sampling.temperature, sampling.seed, sampling.stop) == (9, 0.1, 4, ("\n",))
        assert (sampling.repeat_penalty, sampling.top_k, sampling.top_p) == (1.2, 40, 0.9)
        assert server.router.lease_asked["options"] == EngineOptions(n_ctx=2048, n_gpu_layers=0)
        assert server.router.keep_alive_s == 300


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"options": {"num_ctx": "big"}}, "Invalid value for 'options.num_ctx': expected a whole number, got 'big'."),
        ({"options": {"temperature": 7}}, "'options.temperature' must be between 0 and 2, not 7"),
        ({"options": {"num_predict": 2**40}}, "'options.num_predict' must be between 1 and"),
        ({"options": {"num_ctx": -1}}, "'options.num_ctx' must be between 0 and"),
        ({"options": {"tfs_z": 0.5}}, "Unsupported parameter: 'options.tfs_z'"),
        ({"options": {"stop": ["a", ""]}}, "'options.stop' must not hold an empty text."),
        ({"top_logprobs": 21}, "'top_logprobs' must be between 0 and 20, not 21."),
        ({"top_logprobs": 2}, "'top_logprobs' needs 'logprobs' to be true."),
        ({"keep_alive": "soon"}, "'keep_alive' cannot be read"),
        ({"messages": [{"role": "judge", "content": "hi"}]}, "'messages[0].role' must be one of"),
        ({"_debug_render_only": True}, "Unsupported parameter: '_debug_render_only'"),
        ({"tool_choice": "required"}, "'tool_choice' is only allowed when 'tools' are given."),
        ({"tools": [WEATHER, WEATHER]}, "'tools[1].function.name' is that of another tool, too."),
        ({"model": ...}, "Missing required parameter: 'model'."),
    ],
)
async def test_what_cannot_be_had_is_named(serve, fields, text):
    async with serve() as server:
        response = await chat(server, **fields)
        assert response.status_code == 400
        assert text in response.json()["error"]
        assert server.engine.requests == []


async def test_a_tool_may_be_called_for(serve):
    async with serve() as server:
        await chat(server, tools=[WEATHER], tool_choice={"function": {"name": "weather"}})
        choice = server.engine.request.tool_choice
        assert (choice.mode, choice.names) == ("required", ("weather",))


async def test_a_missing_model_is_a_404_that_says_so(serve):
    async with serve() as server:
        response = await chat(server, model="nope")
        assert response.status_code == 404
        assert "not found" in response.json()["error"]


async def test_what_fails_in_a_stream_is_its_last_line(serve):
    async def failing(request):
        yield TextDelta(request.id, "one")
        yield Failed(request.id, "The engine broke.", status=500)

    async with serve(script=failing) as server:
        response = await chat(server)
        assert response.status_code == 200
        first, last = lines(response)
        assert first["message"]["content"] == "one"
        assert last == {"error": "The engine broke."}


async def test_what_fails_before_a_stream_has_its_own_status(serve):
    async def full(request):
        raise Overloaded("The queue is full.")
        yield

    async with serve(script=full) as server:
        response = await chat(server)
        assert response.status_code == 503
        assert response.json()["error"].startswith("The queue is full.")


@pytest.mark.parametrize("stream", [True, False])
async def test_no_messages_load_the_model(serve, stream):
    """It is leased, and asked nothing."""
    async with serve() as server:
        response = await chat(server, messages=[], stream=stream, keep_alive=60)
        (line,) = lines(response) if stream else [response.json()]
        assert (line["done"], line["done_reason"], line["message"]["content"]) == (True, "load", "")
        assert server.router.asked.is_set()
        assert server.router.keep_alive_s == 60
        assert server.engine.requests == []


@pytest.mark.parametrize("stream", [True, False])
async def test_no_messages_and_no_time_to_stay_unload_it(serve, stream):
    """It is not loaded for that."""
    async with serve() as server:
        response = await chat(server, messages=..., stream=stream, keep_alive=0)
        (line,) = lines(response) if stream else [response.json()]
        assert (line["done"], line["done_reason"]) == (True, "unload")
        assert server.router.stopped == ["echo"]
        assert not server.router.asked.is_set()


async def test_a_client_that_leaves_frees_the_engine(serve):
    async def endless(request):
        while True:
            yield TextDelta(request.id, "on and ")

    async with serve(script=endless) as server:
        async with server.http.stream("POST", "/api/chat", json={"model": "echo", "messages": HELLO}) as response:
            await anext(response.aiter_lines())
        await server.engine.closed.wait()
        await server.router.released.wait()
