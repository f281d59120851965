"""A real runner process behind `RemoteEngine`."""

import asyncio
import contextlib
import os
import signal
import struct
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from aiadmin_core.errors import (
    AiAdminError,
    BadRequest,
    ModelLoadFailed,
    NoBackend,
    RunnerDied,
    UnsupportedParameter,
)
from aiadmin_core.runner.client import greet
from aiadmin_core.runner.messages import Closed, Events, Generate
from aiadmin_core.specs.events import Failed, Finished, TextDelta
from aiadmin_core.specs.model import EngineOptions, EngineStats


async def collect(events):
    async with contextlib.aclosing(events):
        return [event async for event in events]


def text(events) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def line_in(path: Path, line: str) -> None:
    """Until another process has written `line`: of a file there is nothing to await."""

    def look() -> bool:
        return path.exists() and line in path.read_text().splitlines()

    async with asyncio.timeout(10):
        while not await asyncio.to_thread(look):
            await asyncio.to_thread(time.sleep, 0.01)


@pytest.mark.parametrize("prefer_unix", [True, False])
async def test_a_request_is_answered_over_either_transport(start_runner, ask, prefer_unix):
    async with start_runner(prefer_unix=prefer_unix) as runner:
        engine = await runner.engine()
        events = await collect(engine.generate(ask("say this", id=42)))

        assert text(events) == "say this "
        assert isinstance(events[-1], Finished)
        assert {event.request_id for event in events} == {42}
        assert engine.hello.pid == runner.process.pid
        assert engine.facts.architecture == "misbehaving"

        await engine.close()
        assert await runner.process.wait() == 0


async def test_two_hundred_requests_at_once_keep_their_own_words(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        answers = await asyncio.gather(
            *(collect(engine.generate(ask(f"request {number} of many", id=0))) for number in range(200))
        )
        assert [text(events) for events in answers] == [f"request {number} of many " for number in range(200)]
        assert engine.n_open == 0


async def test_closing_a_stream_cancels_the_request_in_the_runner(start_runner, ask, tmp_path):
    journal = tmp_path / "journal"

    async with start_runner(journal=str(journal)) as runner:
        engine = await runner.engine()
        events = engine.generate(ask("hang on"))
        await anext(events)
        await events.aclose()
        await line_in(journal, "cancelled hang")
        assert text(await collect(engine.generate(ask("next")))) == "next "


async def test_a_refusal_is_raised_as_it_was(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        with pytest.raises(BadRequest, match="the prompt has 100") as caught:
            await collect(engine.generate(ask("refuse")))
        assert (caught.value.code, caught.value.status) == ("context_length_exceeded", 400)
        assert caught.value.param == "messages"
        assert "Shorten" in caught.value.hint


async def test_a_bug_of_the_engine_is_an_internal_error_without_its_details(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        with pytest.raises(AiAdminError) as caught:
            await collect(engine.generate(ask("bug")))
        assert (caught.value.code, caught.value.status) == ("internal_error", 500)
        assert "private" not in str(caught.value)


async def test_an_error_after_the_first_event_ends_the_stream_with_failed(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        events = await collect(engine.generate(ask("spoil it")))
        assert text(events) == "spoil it "
        assert events[-1] == Failed(7, "Spoilt.", "invalid_value", 400, "Send less.", None, "messages")


@pytest.mark.parametrize("how", ["crash", "abort"])
async def test_a_crash_in_mid_stream_fails_every_open_request_and_later_ones(start_runner, ask, how):
    async with start_runner() as runner:
        engine = await runner.engine()
        waiting = engine.generate(ask("hang about"))
        await anext(waiting)
        events = await collect(engine.generate(ask(f"{how} now")))
        assert text(events) == f"{how} now "
        assert isinstance(events[-1], Failed)
        assert (events[-1].code, events[-1].status) == ("runner_died", 502)
        assert isinstance((await collect(waiting))[-1], Failed)
        with pytest.raises(RunnerDied):
            await collect(engine.generate(ask("again")))


async def test_the_death_is_explained_by_whoever_holds_the_process(start_runner, ask):
    async with start_runner() as runner:

        async def explain(reason):
            return RunnerDied(f"Status {await runner.process.wait()}.")

        engine = await runner.engine(explain=explain)
        events = engine.generate(ask("hang about"))
        await anext(events)
        runner.process.kill()
        rest = await collect(events)
        assert rest[-1].message == f"Status {-signal.SIGKILL}."


async def test_the_optional_protocols_work_through_calls(start_runner):
    async with start_runner() as runner:
        engine = await runner.engine()
        assert await engine.tokenize("ab") == [97, 98]
        assert await engine.pieces([97, 98]) == [b"a", b"b"]
        vectors = await engine.embed(["abc", (1, 2)])
        assert struct.unpack("<4f", vectors.data) == (1.0, 3.0, 1.0, 2.0)
        assert (vectors.n_dims, vectors.n_tokens) == (2, (3, 2))
        scores = await engine.score("b", ["abb", ""])
        assert struct.unpack("<2f", scores.data) == (2.0, 0.0)
        assert scores.n_tokens == (4, 1)
        with pytest.raises(UnsupportedParameter, match="cannot load adapter"):
            await engine.load_adapter("sha256:0", Path("a"))
        with pytest.raises(BadRequest, match="answer is too large"):
            await engine.embed(["huge"])
        with pytest.raises(BadRequest, match="too large"):
            await engine.tokenize("x" * (65 * 1024 * 1024))
        assert await engine.tokenize("a") == [97]


async def test_a_cancelled_call_is_cancelled_in_the_runner(start_runner, tmp_path):
    journal = tmp_path / "journal"

    async with start_runner(journal=str(journal)) as runner:
        engine = await runner.engine()
        call = asyncio.create_task(engine.embed(["hang"]))
        await engine.tokenize("a")  # the call before it has arrived
        call.cancel()
        await line_in(journal, "cancelled embed")


async def test_heartbeats_bring_the_engines_counters(start_runner, ask):
    beats = asyncio.Queue[EngineStats]()
    async with start_runner() as runner:
        engine = await runner.engine(on_heartbeat=beats.put_nowait)
        events = engine.generate(ask("hang on"))
        await anext(events)
        async with asyncio.timeout(10):
            while (await beats.get()).n_running == 0:
                pass
        assert engine.stats().n_running == 1
        await events.aclose()


async def test_who_has_an_answer_finds_it_counted(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        for n_answers in (1, 2, 3):
            await collect(engine.generate(ask("two words")))
            assert engine.stats().n_completion_tokens == 2 * n_answers


async def test_a_runner_whose_engine_is_dead_ends_so_that_another_can_start(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        events = await collect(engine.generate(ask("die quietly")))
        assert text(events) == "die quietly "
        assert isinstance(events[-1], Finished)  # what the turn gave is sent before the process ends

        async with asyncio.timeout(10):
            assert await runner.process.wait() == 1


async def test_counters_that_cannot_be_sent_cost_no_answer(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        for words in ("miscount this", "and this"):
            async with asyncio.timeout(10):
                assert isinstance((await collect(engine.generate(ask(words))))[-1], Finished)


async def test_a_heartbeat_that_cannot_be_worked_off_harms_no_request(start_runner, ask, caplog):
    n_beats = 0

    def fail(_: EngineStats) -> None:
        nonlocal n_beats
        n_beats += 1
        raise OSError(24, "Too many open files")

    async with start_runner() as runner, asyncio.timeout(10):
        engine = await runner.engine(on_heartbeat=fail)
        for _ in range(2):
            events = await collect(engine.generate(ask("still here")))
            assert isinstance(events[-1], Finished)
        assert n_beats >= 2
        assert "Too many open files" in caplog.text


async def test_an_end_that_cannot_be_explained_still_ends_every_stream(start_runner, ask, caplog):
    async def explain(_: str) -> AiAdminError:
        raise OSError(24, "Too many open files")

    async with start_runner() as runner, asyncio.timeout(10):
        engine = await runner.engine(explain=explain)
        events = engine.generate(ask("hang about"))
        await anext(events)
        call = asyncio.create_task(engine.embed(["hang"]))
        await engine.tokenize("a")  # the call before it has arrived
        runner.process.kill()

        assert (await collect(events))[-1].code == "runner_died"
        with pytest.raises(RunnerDied):
            await call
        with pytest.raises(RunnerDied):
            await collect(engine.generate(ask("again")))
        await engine.close()
        assert "Too many open files" in caplog.text


async def test_a_call_that_the_engine_itself_cancels_is_answered(start_runner):
    async with start_runner() as runner, asyncio.timeout(10):
        engine = await runner.engine()
        with pytest.raises(AiAdminError, match="CancelledError"):
            await engine.embed(["cancel"])


async def test_an_engine_that_gives_single_events_is_heard_in_batches(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        batches = await collect(engine.generate_batches(ask("three words here", id=5)))
        events = [event for batch in batches for event in batch]
        assert all(batches)
        assert text(events) == "three words here "
        assert {event.request_id for event in events} == {5}


@pytest.mark.parametrize("load", ["refuse", "bug"])
async def test_a_model_that_cannot_be_opened_is_reported_and_the_runner_ends(start_runner, load):
    async with start_runner(load=load) as runner:
        with pytest.raises(ModelLoadFailed) as caught:
            await greet(runner.connection)
        assert caught.value.message.startswith(
            "The file is no model." if load == "refuse" else "The backend 'misbehaving' could not open m:latest"
        )
        runner.connection.close()
        assert await runner.process.wait() == 1


async def test_a_plugin_that_is_not_installed_is_named(start_runner):
    async with start_runner("nonesuch") as runner:
        with pytest.raises(NoBackend, match="The plugin 'nonesuch'"):
            await greet(runner.connection)


async def test_a_crash_while_loading_is_the_end_of_the_connection(start_runner):
    async with start_runner(load="crash") as runner:
        with pytest.raises(EOFError):
            await greet(runner.connection)
        assert await runner.process.wait() == -signal.SIGSEGV
    async with start_runner(load="crash", options=EngineOptions(safe_mode=True)) as runner:
        assert (await greet(runner.connection)).facts.notes == ("opened in safe mode",)


@pytest.mark.parametrize("parameters", [{"load": "hang"}, {}], ids=["while loading", "when loaded"])
async def test_a_runner_ends_when_its_connection_does(start_runner, parameters):
    async with start_runner(**parameters) as runner:
        if not parameters:
            await greet(runner.connection)
        runner.connection.abort()
        async with asyncio.timeout(10):
            assert await runner.process.wait() == 0


async def test_a_runner_whose_engine_blocks_the_event_loop_ends_with_its_server(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        events = engine.generate(ask("block it"))
        await anext(events)
        runner.connection.abort()
        runner.process.stdin.close()
        async with asyncio.timeout(15):
            assert await runner.process.wait() == 1
        await events.aclose()


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_process_group_are_left_to_the_server(start_runner, ask, sent):
    async with start_runner() as runner:
        engine = await runner.engine()
        runner.process.send_signal(sent)
        assert text(await collect(engine.generate(ask("still here")))) == "still here "


async def test_a_slow_reader_gets_every_word_in_fewer_events(start_runner, ask):
    """The runner floods; the reader takes one event, then the rest once all of it has arrived."""
    n_words = 20_000

    async with start_runner() as runner:
        engine = await runner.engine()
        slow = engine.generate(ask(f"flood {n_words}"))
        events = [await anext(slow)]
        await collect(engine.generate(ask(f"flood {n_words}")))  # as long: the first has arrived by now
        await engine.tokenize("x")
        events += await collect(slow)
        assert text(events) == "".join(f"{number} " for number in range(n_words))
        assert len(events) < 1000


async def test_what_json_can_say_and_msgpack_cannot_is_the_clients_mistake(start_runner, ask):
    async with start_runner() as runner:
        engine = await runner.engine()
        with pytest.raises(BadRequest, match="cannot be passed on"):
            await collect(engine.generate(replace(ask("hi"), extra={"seed": 2**80})))
        assert engine.n_open == 0


def test_an_event_that_cannot_be_sent_fails_its_request_and_no_other(start_runner, ask):
    async def main():
        async with start_runner() as runner:
            await greet(runner.connection)
            texts = ["one two", "surrogate", "one two"]
            runner.connection.send(*(Generate(ask(text, id=number)) for number, text in enumerate(texts)))
            events, n_closed = [], 0
            while n_closed < 3:
                reply = await runner.connection.receive()
                n_closed += isinstance(reply, Closed)
                events += reply.events if isinstance(reply, Events) else ()
            failed = [event for event in events if isinstance(event, Failed)]
            assert [event.request_id for event in failed] == [1]
            assert "UnicodeEncodeError" in failed[0].message
            assert [event.request_id for event in events if isinstance(event, Finished)].count(0) == 1
            assert [event.text for event in events if event.request_id == 2 and isinstance(event, TextDelta)]

    asyncio.run(asyncio.wait_for(main(), 30))


async def test_what_one_turn_gives_leaves_in_one_frame(start_runner, ask):
    async with start_runner() as runner:
        await greet(runner.connection)
        runner.connection.send(*(Generate(ask("one two three", id=number)) for number in range(1, 9)))
        frames, n_closed = [], 0
        while n_closed < 8:
            reply = await runner.connection.receive()
            n_closed += isinstance(reply, Closed)
            frames += [reply.events] if isinstance(reply, Events) else []
        assert sum(map(len, frames)) == 8 * 4
        assert max(len({event.request_id for event in events}) for events in frames) == 8
        assert len(frames) < 8
