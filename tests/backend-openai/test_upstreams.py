"""Several real servers behind one name: load, retries, health."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.events import Finished, TextDelta

ATTEMPTS = 3


def refusing(status: int, **headers: str) -> Any:
    async def script(reply: Any) -> None:
        await reply.status(status, {"error": {"message": "no luck"}}, **headers)

    return script


async def hello(reply: Any) -> None:
    await reply.say("Hello")


async def drop_at_once(reply: Any) -> None:
    reply.drop()


async def drop_after_the_role(reply: Any) -> None:
    await reply.delta(role="assistant", content="")
    reply.drop()


async def fail_first(reply: Any) -> None:
    await reply.event({"error": {"message": "no luck", "code": "engine_died"}})
    await reply.end()


async def a_page(reply: Any) -> None:
    await reply.status(200, b"<html>", content_type="text/html")


async def fall_silent(reply: Any) -> None:
    await reply.until_disconnected()


async def test_requests_at_once_are_spread(serve: Any, open_engine: Any, collect: Any) -> None:
    all_there = asyncio.Barrier(6)

    async def script(reply: Any) -> None:
        await all_there.wait()
        await reply.say("Hello")

    async with (
        serve(script) as one,
        serve(script) as two,
        serve(script) as three,
        open_engine(one.url, two.url, three.url) as engine,
    ):
        async with asyncio.timeout(10):
            await asyncio.gather(*(collect(engine) for _ in range(6)))

        assert [len(upstream.seen) for upstream in (one, two, three)] == [2, 2, 2]


async def test_the_least_busy_upstream_is_asked(serve: Any, open_engine: Any, ask: Any, collect: Any) -> None:
    """One holds a long answer: everything else goes to the other."""

    async def long(reply: Any) -> None:
        await reply.delta(content="Well")
        await reply.until_disconnected()

    async with serve(long) as busy, serve() as idle, open_engine(busy.url, idle.url) as engine:
        async with aclosing(engine.generate(ask())) as events:
            await anext(events)
            for _ in range(3):
                await collect(engine)

        assert (len(busy.seen), len(idle.seen)) == (1, 3)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(refusing(500), id="500"),
        pytest.param(refusing(503), id="503"),
        pytest.param(refusing(429), id="429"),
        pytest.param(refusing(429, retry_after="60"), id="429 for a minute"),
        drop_at_once,
        drop_after_the_role,
        fail_first,
        a_page,
        fall_silent,
    ],
)
async def test_what_fails_before_its_first_word_is_asked_of_another(
    script: Any, serve: Any, open_engine: Any, collect: Any
) -> None:
    async with (
        serve(script) as bad,
        serve(hello) as good,
        open_engine(bad.url, good.url, read_timeout_s=0.5) as engine,
    ):
        events = await collect(engine)

        assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hello"]
        assert isinstance(events[-1], Finished)
        assert (len(bad.seen), len(good.seen)) == (1, 1)


async def test_a_server_that_is_not_there_costs_nothing(
    serve: Any, open_engine: Any, collect: Any, nobody: str
) -> None:
    async with serve() as good, open_engine(nobody, good.url) as engine:
        for _ in range(3):
            assert isinstance((await collect(engine))[-1], Finished)

        assert len(good.seen) == 3
        assert len(engine.facts.notes) == 1
        assert nobody.split("/")[2] in engine.facts.notes[0]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_short_pause_is_waited_for(status: int, serve: Any, open_engine: Any, collect: Any) -> None:
    async with serve(refusing(status, retry_after="0.1"), hello) as upstream, open_engine(upstream.url) as engine:
        assert isinstance((await collect(engine))[-1], Finished)
        assert len(upstream.seen) == 2


async def test_a_long_pause_is_told_to_the_client(serve: Any, open_engine: Any, collect: Any) -> None:
    async with serve(refusing(429, retry_after="60")) as upstream, open_engine(upstream.url) as engine:
        with pytest.raises(AiAdminError, match="no luck") as caught:
            await collect(engine)

        assert (caught.value.status, getattr(caught.value, "retry_after_s", None)) == (429, 60)
        assert engine.facts.notes == ()


async def test_tries_are_bounded(serve: Any, open_engine: Any, collect: Any) -> None:
    async with serve(refusing(503, retry_after="0")) as upstream, open_engine(upstream.url) as engine:
        with pytest.raises(AiAdminError, match="503"):
            await collect(engine)
        assert len(upstream.seen) == ATTEMPTS


async def test_when_none_serves_the_error_names_each_and_what_is_wrong(
    serve: Any, open_engine: Any, collect: Any, nobody: str
) -> None:
    async with serve(refusing(500)) as upstream, open_engine(nobody, upstream.url, key="s3cret") as engine:
        with pytest.raises(AiAdminError) as caught:
            await collect(engine)

        error = caught.value
        assert (error.status, error.code) == (502, "upstream_unavailable")
        assert f"{nobody.split('/')[2]}: no connection" in error.message
        assert f"{upstream.host}: it answered 500 Internal Server Error: no luck" in error.message
        assert "s3cret" not in str(error)


async def test_an_error_event_that_comes_first_is_carried_through_where_nobody_else_can_serve(
    serve: Any, open_engine: Any, collect: Any
) -> None:
    async with serve(fail_first) as upstream, open_engine(upstream.url) as engine:
        with pytest.raises(AiAdminError, match="no luck") as caught:
            await collect(engine)

        assert (caught.value.status, caught.value.code) == (502, "engine_died")


async def test_one_that_is_down_is_asked_in_the_background_until_it_is_back(
    serve: Any, open_engine: Any, collect: Any, nobody: str
) -> None:
    """And not otherwise: a healthy one gets no checks, and the one that is down no requests."""

    port = int(nobody.split(":")[2].partition("/")[0])
    async with serve() as good, open_engine(nobody, good.url) as engine, asyncio.timeout(20):
        await collect(engine)
        async with serve(port=port) as back:
            await back.checked.wait()
            while engine.facts.notes:  # noqa: ASYNC110 - its answer is on the way; nothing tells when it is in
                await asyncio.sleep(0.01)
            assert not back.seen
            await collect(engine)

            assert (len(back.seen), len(good.seen)) == (1, 1)
            assert not good.checked.is_set()


async def test_a_stream_that_broke_off_sets_its_upstream_aside(serve: Any, open_engine: Any, collect: Any) -> None:
    async def break_off(reply: Any) -> None:
        await reply.delta(content="Hello")
        reply.drop()

    async with serve(break_off, hello) as bad, serve(hello) as good, open_engine(bad.url, good.url) as engine:
        await collect(engine)
        await collect(engine)
        await collect(engine)

        assert (len(bad.seen), len(good.seen)) == (1, 2)
        assert bad.host in engine.facts.notes[0]


async def test_the_only_upstream_is_asked_though_it_is_down(serve: Any, open_engine: Any, collect: Any) -> None:
    async with serve(drop_at_once, hello) as upstream, open_engine(upstream.url) as engine:
        with pytest.raises(AiAdminError):
            await collect(engine)
        assert engine.facts.notes

        assert isinstance((await collect(engine))[-1], Finished)
        assert engine.facts.notes == ()
