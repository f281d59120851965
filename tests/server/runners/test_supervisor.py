"""Real runner processes: started, crashed, remembered, explained, ended."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None

from aiadmin_core.errors import ModelLoadFailed, RunnerDied
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.events import Failed, TextDelta
from aiadmin_core.specs.model import EngineOptions
from aiadmin_server.runners import machine
from aiadmin_server.runners.supervisor import Supervisor
from aiadmin_server.runners.vitals import Limits
from aiadmin_server.settings import Settings


@pytest.fixture
def supervisor(tmp_path, misbehaving):
    """Opens models of the misbehaving backend; `settings` and `limits` as given."""

    def make(*, limits=None, watch_s=2.0, **settings):
        made = Supervisor(
            Settings(state=tmp_path / "state", **settings), load_plugins(only=[]), limits=limits, watch_s=watch_s
        )

        @contextlib.asynccontextmanager
        async def opened(model, options=None):
            running = await made.open("misbehaving", misbehaving, model, options or EngineOptions())
            try:
                yield running
            finally:
                await running.stop()

        return opened

    return make


async def collect(events):
    async with contextlib.aclosing(events):
        return [event async for event in events]


def text(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_a_model_answers_from_a_process_of_its_own(supervisor, model, ask, tmp_path):
    journal = tmp_path / "journal"

    async with supervisor()(model(journal=str(journal))) as running:
        assert running.pid != os.getpid()
        assert running.state == "ready"
        assert running.trouble() is None
        assert text(await collect(running.engine.generate(ask("say this")))) == "say this "
    assert running.state == "stopped"
    assert await running.ended == 0
    assert journal.read_text().splitlines() == ["opening", "closed"]


def test_a_crash_while_loading_is_paid_for_once(supervisor, model, ask, tmp_path, monkeypatch):
    """First start: crash, then safe mode. Second: safe mode at once. Another build starts with a clean slate."""
    journal = tmp_path / "journal"
    crashing = model(load="crash", journal=str(journal))

    async def main():
        for _ in range(2):
            async with supervisor()(crashing) as running:
                assert running.engine.facts.notes == ("opened in safe mode",)
                (note,) = running.notes
                assert note.startswith("safe mode: the backend was killed by SIGSEGV when it loaded")
                assert text(await collect(running.engine.generate(ask("hello")))) == "hello "
        monkeypatch.setenv("MISBEHAVING_BUILD", "misbehaving-2")
        async with supervisor()(crashing):
            pass

    asyncio.run(main())
    opened = [line for line in journal.read_text().splitlines() if line.startswith("opening")]
    assert opened == ["opening", "opening safely", "opening safely", "opening", "opening safely"]
    assert [crash.build for crash in machine.read(tmp_path / "state").crashes] == ["misbehaving-2"]


def test_a_crash_in_safe_mode_too_is_told_and_not_remembered(supervisor, model, tmp_path):
    async def main():
        with pytest.raises(ModelLoadFailed) as caught:
            async with supervisor()(model(load="always crash")):
                pass
        message = caught.value.message
        assert message.startswith("The process serving m:latest (misbehaving) was killed by SIGSEGV while loading; ")
        assert "its last lines: " in message
        assert "reading address zero | Fatal Python error: Segmentation fault" in message
        assert "safe mode too" in caught.value.hint
        assert machine.read(tmp_path / "state").crashes == ()

    asyncio.run(main())
    assert b"reading address zero" in (tmp_path / "state/logs/runner-misbehaving-m-latest.log").read_bytes()


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("refuse", "The file is no model."),
        ("exit", "ended with exit status 3 while loading; its last lines: giving up"),
    ],
)
def test_a_failed_load_is_not_a_crash(supervisor, model, tmp_path, load, message):
    journal = tmp_path / "journal"

    async def main():
        with pytest.raises(ModelLoadFailed, match=message):
            async with supervisor()(model(load=load, journal=str(journal))):
                pass

    asyncio.run(main())
    assert journal.read_text() == "opening\n"


async def test_a_load_without_a_sign_of_life_is_given_up(supervisor, model):
    with pytest.raises(ModelLoadFailed, match="no sign of life for 2 s"):
        async with supervisor(load_timeout_s=2.0)(model(load="hang")):
            pass


def test_a_load_that_is_cancelled_leaves_no_process(supervisor, model, tmp_path):
    journal = tmp_path / "journal"

    async def main():
        opening = asyncio.create_task(supervisor()(model(load="hang", journal=str(journal))).__aenter__())
        while not await asyncio.to_thread(journal.exists):
            await asyncio.to_thread(time.sleep, 0.01)
        before = children()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        return before

    before = asyncio.run(main())
    assert len(before) == 1
    assert not any(process.is_running() for process in before)


def children():
    psutil = pytest.importorskip("psutil")
    return [process for process in psutil.Process().children() if "aiadmin_core.runner" in process.cmdline()]


@pytest.mark.parametrize(("how", "name"), [("crash", "SIGSEGV"), ("abort", "SIGABRT")])
async def test_a_crash_in_mid_stream_is_explained(supervisor, model, ask, how, name):
    async with supervisor()(model()) as running:
        events = await collect(running.engine.generate(ask(f"{how} now")))
        assert text(events) == f"{how} now "
        failure = events[-1]
        assert isinstance(failure, Failed)
        assert failure.message == f"The process serving m:latest (misbehaving) was killed by {name}."
        assert (failure.code, failure.status) == ("runner_died", 502)
        assert failure.hint.startswith("Send the request again: the model is loaded afresh. The runner's log has")
        assert running.state == "failed"


async def test_what_a_dead_runner_wrote_is_told_to_the_log_and_to_no_client(supervisor, model, ask, caplog):
    """It may hold the text of another request."""

    async with supervisor()(model()) as running:
        other = running.engine.generate(ask("hang on, this is my secret"))
        await anext(other)
        failure = (await collect(running.engine.generate(ask("crash now"))))[-1]
        for told in (failure, (await collect(other))[-1]):
            assert "reading address zero" not in told.message + told.hint
        assert any("reading address zero" in record.message for record in caplog.records)
        with pytest.raises(RunnerDied) as caught:
            await collect(running.engine.generate(ask("again")))
        assert caught.value.should_retry is False


async def test_kill_9_in_mid_stream_is_explained(supervisor, model, ask):
    async with supervisor()(model()) as running:
        waiting = running.engine.generate(ask("hang on"))
        await anext(waiting)
        os.kill(running.pid, signal.SIGKILL)
        failure = (await collect(waiting))[-1]
        assert "was killed by SIGKILL" in failure.message
        assert "memory ran out" in failure.hint
        with pytest.raises(RunnerDied, match="SIGKILL"):
            await collect(running.engine.generate(ask("again")))


async def test_a_runner_that_falls_silent_under_a_request_is_ended(supervisor, model, ask):
    limits = Limits(late_s=1, silent_s=4)

    async with supervisor(limits=limits)(model()) as running:
        events = await collect(running.engine.generate(ask("block everything")))
        assert "was ended because it has not been heard of for" in events[-1].message
        assert running.state == "failed"


async def test_an_engine_that_makes_no_step_is_ended(supervisor, model, ask):
    async with supervisor(limits=Limits(stuck_s=3))(model()) as running:
        events = await collect(running.engine.generate(ask("hang on")))
        assert "was ended because its engine has not made a step for" in events[-1].message


async def test_a_runner_that_outgrows_the_memory_says_so_with_its_numbers(supervisor, model):
    limits = Limits(grown_bytes=-(1 << 40), grown_share=-1e6, scarce_share=1.0)

    async with supervisor(limits=limits)(model()) as running:
        async with asyncio.timeout(20):
            await running.outgrown  # with a heartbeat: it need not be asked for anything
        assert "its memory has grown from" in running.trouble()
        assert running.is_usable  # until its requests are answered


async def test_stop_ends_a_runner_that_does_not_listen(supervisor, model, ask):
    async with supervisor()(model()) as running:
        events = running.engine.generate(ask("block everything"))
        await anext(events)
        async with asyncio.timeout(10):
            await running.stop()
        assert (await collect(events))[-1].message == "m:latest was unloaded under the request."


async def test_in_process_mode_opens_the_engine_here(supervisor, model, ask, tmp_path):
    async with supervisor(in_process=True)(model()) as running:
        assert running.pid == os.getpid()
        assert text(await collect(running.engine.generate(ask("say this")))) == "say this "
    with pytest.raises(ModelLoadFailed, match="ZeroDivisionError"):
        async with supervisor(in_process=True)(model(load="bug")):
            pass


async def test_an_engine_that_dies_in_this_process_is_let_go(supervisor, model, ask):
    async with supervisor(in_process=True, watch_s=0.01)(model()) as running:
        await collect(running.engine.generate(ask("die")))
        async with asyncio.timeout(5):
            assert await running.ended == 1
        assert not running.is_usable


async def test_an_engine_of_this_process_that_nobody_waits_for_any_more_is_closed(supervisor, model, tmp_path):
    """The thread that opens it cannot be stopped: what it gives must not stay in memory."""
    journal, gate = tmp_path / "journal", tmp_path / "gate"

    opening = supervisor(in_process=True)(model(journal=str(journal), **{"wait for": str(gate)}))
    task = asyncio.create_task(opening.__aenter__())
    while not journal.exists():  # noqa: ASYNC110 - a thread writes it
        await asyncio.sleep(0.01)
    task.cancel()
    gate.touch()
    await asyncio.wait({task})
    assert task.cancelled()
    assert journal.read_text().splitlines() == ["opening", "closed"]


@pytest.mark.skipif(resource is None, reason="needs limits of open files")
async def test_a_server_that_can_open_no_more_files_keeps_its_streams(supervisor, model, ask):
    """`psutil` opens a file to read how much memory there is, at every heartbeat."""
    async with supervisor()(model()) as running, asyncio.timeout(20):
        waiting = running.engine.generate(ask("hang about"))
        await anext(waiting)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            for _ in range(2):  # each answer comes with a heartbeat
                assert text(await collect(running.engine.generate(ask("still here")))) == "still here "
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert running.is_usable
        assert running.trouble() is None
        await waiting.aclose()
