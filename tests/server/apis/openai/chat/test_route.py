"""`/v1/chat/completions` over HTTP, read by OpenAI's own client."""

import asyncio
import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import (
    Alternative,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

HELLO = [{"role": "user", "content": "hi"}]


def payloads(text: str) -> list[dict]:
    """The JSON objects of an event stream; its last event must be [DONE]."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return [json.loads(item) for item in data[:-1]]


async def test_a_whole_answer_is_a_chat_completion(serve):
    """Fields, usage and identifiers are OpenAI's."""

    async with serve() as server:
        response = await server.chat(model="gpt-4o")
        body = response.json()
        answer = ChatCompletion.model_validate(body, strict=True)
        assert answer.model == "gpt-4o"
        assert answer.choices[0].message.content == "one two three"
        assert answer.choices[0].finish_reason == "stop"
        assert body["choices"][0]["logprobs"] is None
        assert body["choices"][0]["message"]["refusal"] is None
        assert answer.usage.total_tokens == 8
        assert answer.usage.prompt_tokens_details.cached_tokens == 2
        assert answer.id.startswith("chatcmpl-")
        assert answer.system_fingerprint.startswith("fp_")
        assert response.headers["x-request-id"].startswith("req_")


async def test_unknown_cached_tokens_are_left_out(serve):
    """0 says that nothing was cached; an engine that does not know says nothing."""

    async def unknowing(request):
        yield Finished(request.id, "stop", Usage(prompt_tokens=1))

    async with serve(script=unknowing) as server:
        usage = (await server.chat()).json()["usage"]
        assert "prompt_tokens_details" not in usage


async def test_a_stream_has_role_then_text_then_finish_then_usage(serve):
    """Every chunk repeats id, model and time; only the last has usage, and no choices."""

    async with serve() as server:
        response = await server.chat(stream=True, stream_options={"include_usage": True})
        assert response.headers["content-type"].startswith("text/event-stream")
        chunks = payloads(response.text)
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk, strict=True)
        heads = {(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in chunks}
        assert len(heads) == 1
        first, *middle, last, usage = chunks
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
        assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "one two three"
        assert last["choices"][0]["delta"] == {}
        assert last["choices"][0]["finish_reason"] == "stop"
        assert all(chunk["usage"] is None for chunk in (first, *middle, last))
        assert usage["choices"] == []
        assert usage["usage"]["completion_tokens"] == 3


async def test_without_stream_options_no_chunk_speaks_of_usage(serve):
    async with serve() as server:
        chunks = payloads((await server.chat(stream=True)).text)
        assert all("usage" not in chunk for chunk in chunks)
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_openai_s_client_streams(serve):
    async with serve() as server:
        stream = await server.openai.chat.completions.create(model="echo", messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == "one two three"


async def test_a_delta_is_sent_before_the_next_is_made(serve):
    """The stream does not wait for its end: the engine goes on only when the first word has arrived."""
    arrived = asyncio.Event()

    async def waiting(request):
        yield TextDelta(request.id, "first")
        await arrived.wait()
        yield TextDelta(request.id, "second")
        yield Finished(request.id, "stop")

    async with serve(script=waiting) as server:
        texts = []
        stream = await server.openai.chat.completions.create(model="echo", messages=HELLO, stream=True)
        async for chunk in stream:
            texts.append(chunk.choices[0].delta.content or "")
            if "first" in texts:
                arrived.set()
        assert [text for text in texts if text] == ["first", "second"]


async def test_deltas_that_are_there_together_are_one_chunk(serve):
    """A hundred deltas that nobody waited for do not make a hundred chunks."""

    async def sudden(request):
        yield Started(request.id, 1)
        for _ in range(100):
            yield TextDelta(request.id, "a")
        yield Finished(request.id, "stop")

    async with serve(script=sudden) as server:
        chunks = payloads((await server.chat(stream=True)).text)
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "a" * 100
        assert len(chunks) < 10


async def test_several_choices_are_kept_apart(serve):
    async with serve() as server:
        body = (await server.chat(n=3)).json()
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
        assert {choice["message"]["content"] for choice in body["choices"]} == {"one two three"}
        assert body["usage"] == body["usage"] | {"prompt_tokens": 5, "completion_tokens": 9}

        chunks = payloads((await server.chat(n=3, stream=True)).text)
        roles = [chunk["choices"][0]["index"] for chunk in chunks if "role" in chunk["choices"][0]["delta"]]
        ends = [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"][0]["finish_reason"]]
        assert roles == [0, 1, 2]
        assert sorted(ends) == [0, 1, 2]


async def test_tool_calls_and_reasoning_arrive_in_their_own_fields(serve):
    async def calling(request):
        yield ReasoningDelta(request.id, "hmm")
        yield ToolCallDelta(request.id, 0, id="call_1", name="weather")
        yield ToolCallDelta(request.id, 0, arguments='{"city":')
        yield ToolCallDelta(request.id, 0, arguments='"Bonn"}')
        yield ToolCallDelta(request.id, 1, id="call_2", name="time", arguments="{}")
        yield Finished(request.id, "tool_calls", Usage(completion_tokens=9, reasoning_tokens=4))

    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        for name in ("weather", "time")
    ]

    async with serve(script=calling) as server:
        body = (await server.chat(tools=tools)).json()
        message = body["choices"][0]["message"]
        assert message["content"] is None
        assert message["reasoning_content"] == "hmm"
        assert [call["function"] for call in message["tool_calls"]] == [
            {"name": "weather", "arguments": '{"city":"Bonn"}'},
            {"name": "time", "arguments": "{}"},
        ]
        assert body["choices"][0]["finish_reason"] == "tool_calls"
        assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4

        chunks = payloads((await server.chat(tools=tools, stream=True)).text)
        deltas = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
        assert [call["id"] for call in deltas if "id" in call] == ["call_1", "call_2"]
        assert "".join(call["function"]["arguments"] for call in deltas if call["index"] == 0) == '{"city":"Bonn"}'

        results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "rain"} for n in (2, 1)]
        followed = [*HELLO, message, *results]
        assert (await server.chat(messages=followed, tools=tools)).status_code == 200


async def test_logprobs_carry_bytes_and_alternatives(serve):
    async def likely(request):
        other = Alternative(2, b"\xff", float("-inf"))
        yield TextDelta(request.id, "é", logprobs=(TokenLogprob(1, "é".encode(), -0.5, (other,)),))
        yield Finished(request.id, "stop")

    async with serve(script=likely) as server:
        body = (await server.chat(logprobs=True, top_logprobs=1)).json()
        (token,) = body["choices"][0]["logprobs"]["content"]
        assert token == {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [{"token": "\ufffd", "logprob": -9999.0, "bytes": [255]}],
        }
        ChatCompletion.model_validate(body, strict=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_of_thoughts_and_calls_have_lists_of_their_own(serve, stream):
    """That of OpenAI holds the tokens of the content alone."""

    def token(number):
        return (TokenLogprob(number, str(number).encode(), -float(number)),)

    async def thinking(request):
        yield ReasoningDelta(request.id, "1", logprobs=token(1))
        yield TextDelta(request.id, "2", logprobs=token(2))
        yield ToolCallDelta(request.id, 0, 0, "call_1", "f", "", token(3))
        yield ToolCallDelta(request.id, 0, 0, arguments="{}", logprobs=token(4))
        yield Finished(request.id, "tool_calls")

    async with serve(script=thinking) as server:
        response = await server.chat(logprobs=True, stream=stream)
        bodies = payloads(response.text) if stream else [response.json()]
    told = {"content": [], "reasoning_content": [], "tool_calls": []}
    for logprobs in (body["choices"][0]["logprobs"] for body in bodies):
        for name, found in told.items():
            found += [item["token"] for item in (logprobs or {}).get(name) or []]
    assert told == {"content": ["2"], "reasoning_content": ["1"], "tool_calls": ["3", "4"]}


async def test_extensions_and_keep_alive_reach_engine_and_router(serve):
    async with serve() as server:
        await server.openai.chat.completions.create(
            model="echo",
            messages=HELLO,
            max_completion_tokens=7,
            extra_body={
                "top_k": 5,
                "min_p": 0.1,
                "repeat_penalty": 1.1,
                "ignore_eos": True,
                "keep_alive": "10m",
                "chat_template_kwargs": {"enable_thinking": False},
                "priority": 3,
                "cache_salt": "me",
            },
        )
        request = server.engine.request
        assert (request.sampling.top_k, request.sampling.min_p, request.sampling.max_tokens) == (5, 0.1, 7)
        assert request.sampling.ignore_eos
        assert (request.priority, request.cache_salt) == (3, "me")
        assert request.input.template_options == {"enable_thinking": False}
        assert server.router.keep_alive_s == 600


async def test_unknown_fields_are_forwarded_to_an_engine_that_takes_them(serve):
    able = Capabilities(forwards_unknown=True)

    async with serve(capabilities=able) as server:
        assert (await server.chat(new_field={"a": 1}, verbosity="high")).status_code == 200
        assert server.engine.request.extra == {"new_field": {"a": 1}, "verbosity": "high"}


async def test_unknown_fields_can_be_ignored_and_are_named(serve):
    async with serve(ignore_unknown_fields=True) as server:
        messages = [{"role": "user", "content": "hi", "colour": "red"}]
        response = await server.chat(messages=messages, **{"new_field": 1, "bad\r\nx-evil: 1": 2})
        assert response.status_code == 200
        assert response.headers["x-ignored-params"] == ("messages[0].colour, new_field, bad%0D%0Ax-evil%3A%201")
        assert "x-evil" not in response.headers


async def test_two_requests_have_different_ids(serve):
    async with serve() as server:
        answers = await asyncio.gather(*(server.chat() for _ in range(8)))
        assert len({answer.json()["id"] for answer in answers}) == 8
        assert len({request.id for request in server.engine.requests}) == 8
