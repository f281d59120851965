"""Requests through the engine to a real server: streams, refusals, failures in mid-stream, cancelling."""

import asyncio
import contextlib
import logging
from contextlib import aclosing
from typing import Any

import pytest

from aiadmin_core import route
from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.events import Failed, Finished, TextDelta
from aiadmin_core.specs.request import TextInput


def text_of(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_an_answer_is_streamed_through(serve: Any, open_engine: Any, ask: Any, collect: Any) -> None:
    manifest = {"system": "Be brief.", "parameters": {"stop": "END", "num_ctx": 7}}

    async with serve() as upstream, open_engine(upstream.url, manifest=manifest) as engine:
        events = await collect(engine, ask("Hi", extra={"mirostat": 2}))

        assert events[:2] == [TextDelta(1, "Hello"), TextDelta(1, " world")]
        assert isinstance(events[2], Finished)
        assert (events[2].usage.prompt_tokens, events[2].usage.cached_tokens) == (5, 3)
        sent = upstream.seen[0]
        assert sent.path == "/v1/chat/completions"
        assert sent.body["model"] == "llama3"
        assert (sent.body["mirostat"], sent.body["stop"]) == (2, ["END"])
        assert [message["content"] for message in sent.body["messages"]] == ["Be brief.", "Hi"]
        stats = engine.stats()
        assert (stats.n_running, stats.n_waiting, stats.n_cancelled) == (0, 0, 0)
        assert (stats.n_prompt_tokens, stats.n_cached_tokens, stats.n_completion_tokens) == (5, 3, 2)


async def test_which_servers_a_request_came_through_is_passed_on(serve: Any, open_engine: Any, collect: Any) -> None:
    async with serve() as upstream, open_engine(upstream.url) as engine:
        await collect(engine)
        token = route.came_through.set(("first", "second"))
        await collect(engine)
        route.came_through.reset(token)
    assert "x-aiadmin-route" not in upstream.seen[0].headers
    assert upstream.seen[1].headers["x-aiadmin-route"] == "first,second"


async def test_each_delta_arrives_when_it_was_sent(serve: Any, open_engine: Any, ask: Any) -> None:
    """The upstream does not go on before its first word has been seen."""

    seen = asyncio.Event()

    async def script(reply: Any) -> None:
        await reply.delta(content="Hello")
        await seen.wait()
        await reply.say(" world")

    async with serve(script) as upstream, open_engine(upstream.url) as engine:
        async for event in engine.generate(ask()):
            if isinstance(event, TextDelta):
                assert engine.stats().n_running == 1
                seen.set()


async def test_text_goes_to_completions(serve: Any, open_engine: Any, ask: Any, collect: Any) -> None:
    async def script(reply: Any) -> None:
        await reply.event({"choices": [{"index": 0, "text": " time", "finish_reason": "length"}]})
        await reply.end()

    async with serve(script) as upstream, open_engine(upstream.url) as engine:
        events = await collect(engine, ask(input=TextInput(text="Once upon a")))

        assert text_of(events) == " time"
        assert upstream.seen[0].path == "/v1/completions"


async def test_a_server_that_does_not_stream_answers_in_one_piece(serve: Any, open_engine: Any, collect: Any) -> None:
    async def script(reply: Any) -> None:
        message = {"role": "assistant", "content": "Hello"}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        await reply.status(200, body, content_type="application/json; charset=utf-8")

    async with serve(script) as upstream, open_engine(upstream.url) as engine:
        assert text_of(await collect(engine)) == "Hello"


def test_connections_are_kept_for_the_next_request(serve: Any, open_engine: Any, collect: Any) -> None:
    clients: list[Any] = []

    async def main() -> None:
        async with serve() as upstream, open_engine(upstream.url) as engine:
            for _ in range(3):
                await collect(engine)
                clients.append(upstream.client)

    asyncio.run(main())
    assert len(set(clients)) == 1


async def test_an_end_that_does_not_come_is_not_waited_for(serve: Any, open_engine: Any, collect: Any) -> None:
    """[DONE] is the end, whether the connection ends or not."""

    async def script(reply: Any) -> None:
        await reply.delta(content="Hello")
        await reply.delta(finish="stop")
        await reply.raw(b"data: [DONE]\n\n")
        await reply.until_disconnected()

    async with serve(script) as upstream, open_engine(upstream.url) as engine, asyncio.timeout(5):
        assert isinstance((await collect(engine))[-1], Finished)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_refusal_is_carried_through_and_asked_of_nobody_else(
    status: int, serve: Any, open_engine: Any, collect: Any
) -> None:
    async def script(reply: Any) -> None:
        error = {"message": "bad n", "type": "invalid_request_error", "code": "bad_n", "param": "n"}
        await reply.status(status, {"error": error})

    async with serve(script) as one, serve(script) as two, open_engine(one.url, two.url) as engine:
        with pytest.raises(AiAdminError) as caught:
            await collect(engine)

        error = caught.value
        assert (error.status, error.code, str(error), error.param) == (status, "bad_n", "bad n", "n")
        assert len(one.seen) + len(two.seen) == 1
        assert engine.facts.notes == ()
        assert engine.stats().n_cancelled == 0


def test_a_key_that_an_upstream_repeats_is_in_no_error_and_no_log(
    serve: Any, open_engine: Any, collect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aiadmin_openai")

    async def refuse(reply: Any) -> None:
        await reply.status(400, {"error": {"message": "you sent s3cret"}})

    async def fail(reply: Any) -> None:
        await reply.status(500, {"error": {"message": "you sent s3cret"}})

    async def break_off(reply: Any) -> None:
        await reply.delta(content="Hello")
        await reply.event({"error": {"message": "you sent s3cret"}})

    async def main() -> None:
        async with serve(refuse, fail, break_off) as upstream, open_engine(upstream.url, key="s3cret") as engine:
            for _ in range(2):
                with pytest.raises(AiAdminError) as caught:
                    await collect(engine)
                assert "s3cret" not in str(caught.value)
            failed = (await collect(engine))[-1]
            assert failed.message == "you sent ***"
            assert not any("s3cret" in note for note in engine.facts.notes)

    asyncio.run(main())
    assert "s3cret" not in caplog.text


async def test_an_error_event_in_mid_stream_ends_the_stream_as_failed(
    serve: Any, open_engine: Any, collect: Any
) -> None:
    async def script(reply: Any) -> None:
        await reply.delta(content="Hello")
        await reply.event({"error": {"message": "out of memory", "code": "runner_died", "type": "server_error"}})
        await reply.end()

    async with serve(script) as upstream, open_engine(upstream.url) as engine:
        events = await collect(engine)

        assert text_of(events) == "Hello"
        assert events[-1] == Failed(1, "out of memory", "runner_died", 502)


async def drop(reply: Any) -> None:
    await reply.delta(content="Hello")
    reply.drop()


async def end_early(reply: Any) -> None:
    await reply.delta(content="Hello")
    await reply.end()


async def babble(reply: Any) -> None:
    await reply.delta(content="Hello")
    await reply.raw(b"data: {nonsense\n\n")
    await reply.until_disconnected()


async def fall_silent(reply: Any) -> None:
    await reply.delta(content="Hello")
    await reply.until_disconnected()


@pytest.mark.parametrize("script", [drop, end_early, babble, fall_silent])
async def test_a_stream_that_breaks_off_is_never_taken_for_an_answer(
    script: Any, serve: Any, open_engine: Any, collect: Any
) -> None:
    async with serve(script) as upstream, open_engine(upstream.url, read_timeout_s=0.3) as engine:
        events = await collect(engine)

        assert text_of(events) == "Hello"
        assert isinstance(events[-1], Failed)
        assert events[-1].status == 502
        assert upstream.host in events[-1].message
        assert not any(isinstance(event, Finished) for event in events)
        assert len(upstream.seen) == 1


async def test_an_answer_that_was_complete_when_the_connection_broke_is_one(
    serve: Any, open_engine: Any, collect: Any
) -> None:
    async def script(reply: Any) -> None:
        await reply.delta(content="Hello", finish="stop")
        reply.drop()

    async with serve(script) as upstream, open_engine(upstream.url) as engine:
        events = await collect(engine)

        assert isinstance(events[-1], Finished)
        assert events[-1].usage.completion_tokens == 1
        assert engine.facts.notes == ()


@pytest.mark.parametrize("n_events", [0, 1])
async def test_cancelling_closes_the_upstreams_connection(
    n_events: int, serve: Any, open_engine: Any, ask: Any
) -> None:
    """By closing the generator between events, and by cancelling who waits for the first one."""

    asked, left = asyncio.Event(), asyncio.Event()

    async def script(reply: Any) -> None:
        asked.set()
        if n_events:
            await reply.delta(content="Hello")
        await reply.until_disconnected()
        left.set()

    async with serve(script) as upstream, open_engine(upstream.url) as engine, asyncio.timeout(10):
        async with aclosing(engine.generate(ask())) as events:
            for _ in range(n_events):
                await anext(events)
            if not n_events:
                waiting = asyncio.create_task(anext(events))
                await asked.wait()
                assert engine.stats().n_waiting == 1
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
        await left.wait()

        stats = engine.stats()
        assert (stats.n_running, stats.n_waiting, stats.n_cancelled) == (0, 0, 1)


async def test_leaving_after_the_last_event_cancels_nothing(serve: Any, open_engine: Any, ask: Any) -> None:
    async with serve() as upstream, open_engine(upstream.url) as engine:
        async with aclosing(engine.generate(ask())) as events:
            async for event in events:
                if isinstance(event, Finished):
                    break
        assert engine.stats().n_cancelled == 0


async def test_closing_the_engine_fails_what_is_running_and_refuses_what_comes(
    serve: Any, open_engine: Any, ask: Any, collect: Any
) -> None:
    left = asyncio.Event()

    async def script(reply: Any) -> None:
        await reply.delta(content="Hello")
        await reply.until_disconnected()
        left.set()

    async with serve(script) as upstream, open_engine(upstream.url) as engine, asyncio.timeout(10):
        running = engine.generate(ask())
        await anext(running)
        rest = asyncio.create_task(anext(running))
        await asyncio.sleep(0)
        await engine.close()

        failed = await rest
        assert isinstance(failed, Failed)
        assert "unloaded" in failed.message
        await left.wait()
        with pytest.raises(AiAdminError, match="unloaded"):
            await collect(engine)
