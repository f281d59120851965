"""What the context has no room for, and answers that go on where a message ends."""

import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.specs.events import Finished, Started, TextDelta
from aiadmin_core.specs.model import ModelFacts, ModelSpec
from aiadmin_core.testing.fake import FakeTokenEngine

USER = {"role": "user", "content": "hi"}
BEGUN = {"role": "assistant", "content": "Once"}


@pytest.fixture
async def small(serve):
    """A model with a context of 200 tokens, one for each byte."""
    engine = assemble(
        FakeTokenEngine(facts=ModelFacts(n_ctx=200), script=lambda _request, _choice: list(b"word " * 100)),
        ModelSpec(name="fake", digest="", format="other", files=()),
    )
    async with serve(script=engine.generate, capabilities=engine.capabilities) as server:
        yield server
    await engine.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_limit_beyond_the_room_is_lowered_and_told_by_the_name_it_was_sent_under(small, stream):
    for name in ("max_tokens", "max_completion_tokens"):
        response = await small.chat(**{name: 1000}, stream=stream)
        assert response.status_code == 200
        key, _, value = response.headers["x-clamped"].partition("=")
        assert key == name
        assert 100 < int(value) < 200
        if not stream:
            body = response.json()
            assert body["usage"]["completion_tokens"] == int(value)
            assert body["choices"][0]["finish_reason"] == "length"
        assert "x-clamped" not in (await small.chat(**{name: 5}, stream=stream)).headers
    assert "x-clamped" not in (await small.chat(stream=stream)).headers


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_that_is_too_long_is_refused_or_loses_its_oldest_turns(small, stream):
    turns = [{"role": role, "content": "word " * 6} for _ in range(5) for role in ("user", "assistant")]
    conversation = [{"role": "system", "content": "Be brief."}, *turns, USER]
    for truncation in (None, "disabled"):
        refused = await small.chat(messages=conversation, truncation=truncation)
        assert refused.json()["error"]["code"] == "context_length_exceeded"
    answered = await small.chat(messages=conversation, truncation="auto", max_tokens=20, stream=stream)
    assert answered.status_code == 200
    assert int(answered.headers["x-dropped-messages"]) in range(2, 11, 2)
    assert "x-dropped-messages" not in (await small.chat(truncation="auto", stream=stream)).headers


async def test_the_first_events_may_tell_nothing_of_it(serve):
    async def other(request):
        yield TextDelta(request.id, "x")
        yield Finished(request.id, "stop")

    async with serve(script=other) as server:
        response = await server.chat(max_tokens=5, stream=True)
        assert "x-clamped" not in response.headers


async def test_a_model_s_own_limit_is_no_news_to_the_client(serve):
    async def clamped(request):
        yield Started(request.id, 5, None, 7)
        yield Finished(request.id, "length")

    async with serve(script=clamped) as server:
        assert "x-clamped" not in (await server.chat()).headers
        assert (await server.chat(max_tokens=9)).headers["x-clamped"] == "max_tokens=7"


@pytest.mark.parametrize(
    ("messages", "fields", "continues"),
    [
        ([USER, BEGUN], {}, True),
        ([USER, BEGUN], {"continue_final_message": True, "add_generation_prompt": False}, True),
        ([USER, BEGUN], {"continue_final_message": False}, False),
        ([USER, BEGUN], {"add_generation_prompt": True}, False),
        ([USER], {}, False),
        ([USER], {"continue_final_message": False, "add_generation_prompt": True}, False),
    ],
)
async def test_an_assistants_last_message_is_continued_unless_the_client_wants_a_new_turn(
    serve, messages, fields, continues
):
    async with serve() as server:
        assert (await server.chat(messages=messages, **fields)).status_code == 200
        assert server.engine.request.input.continues == continues


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([USER], {"continue_final_message": True}, "continue_final_message"),
        ([USER, BEGUN], {"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
        ([USER], {"add_generation_prompt": False}, "add_generation_prompt"),
        ([USER], {"truncation": "middle"}, "truncation"),
    ],
)
async def test_what_contradicts_the_conversation_is_named(serve, messages, fields, param):
    async with serve() as server:
        assert (await server.chat(messages=messages, **fields)).json()["error"]["param"] == param
