"""The router over real runner processes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.events import Failed, TextDelta
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_server.routing.router import Router
from aiadmin_server.routing.target import NothingLeft, Target
from aiadmin_server.settings import Settings

PLUGIN = Path(__file__).parents[2] / "plugins" / "misbehaving"


def target(name, passed=0):
    if passed:
        raise NothingLeft
    spec = ModelSpec(name=name, digest="sha256:0", format="other", files=())
    return Target(requested=name, resolved=name, spec=spec)


@pytest.fixture
def routed(tmp_path, monkeypatch):
    """A router over the installed misbehaving plugin, closed when the context is left."""
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.syspath_prepend(str(PLUGIN))

    @contextlib.asynccontextmanager
    async def opened(**settings):
        plugins = load_plugins(only=["misbehaving"])
        router = Router(resolve=target, plugins=plugins, settings=Settings(state=tmp_path, **settings))
        try:
            yield router
        finally:
            await router.close()

    yield opened
    sys.modules.pop("aiadmin_misbehaving", None)


async def ask(router, text):
    async with router.lease("m:latest") as lease:
        events = lease.engine.generate(GenerateRequest(id=1, input=TextInput(text=text)))
        async with contextlib.aclosing(events):
            return [event async for event in events]


def text(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("how", ["kill -9", "crash"])
async def test_after_a_death_in_mid_stream_the_next_request_is_served_by_a_new_runner(routed, how):
    async with routed() as router:
        async with router.lease("m:latest") as lease:
            events = lease.engine.generate(GenerateRequest(id=1, input=TextInput(text="hang on")))
            await anext(events)
            (model,) = router.loaded()
            if how == "crash":
                assert isinstance((await ask(router, "crash now"))[-1], Failed)
            else:
                os.kill(model.pid, signal.SIGKILL)
            rest = [event async for event in events]
            assert rest[-1].code == "runner_died"
        assert text(await ask(router, "still here?")) == "still here? "
        (fresh,) = router.loaded()
        assert fresh.pid != model.pid


async def test_a_runner_that_dies_while_idle_is_no_longer_shown(routed):
    async with routed() as router:
        async with router.lease("m:latest"):
            pass
        (model,) = router.loaded()
        (entry,) = router.fleet.entries()
        os.kill(model.pid, signal.SIGKILL)
        await entry.gone.wait()
        assert router.loaded() == []
        assert text(await ask(router, "hello")) == "hello "


async def test_keep_alive_zero_ends_the_process(routed):
    async with routed(keep_alive_s=0) as router:
        async with router.lease("m:latest"):
            (model,) = router.loaded()
        assert await router.unload("m:latest") in (True, False)  # waits for it, where it is not gone yet
        assert not psutil.pid_exists(model.pid)


async def test_two_hundred_requests_at_once_load_one_runner(routed):
    async with routed() as router:
        answers = await asyncio.gather(*(ask(router, f"request {number}") for number in range(200)))
        assert [text(events) for events in answers] == [f"request {number} " for number in range(200)]
        assert len(router.loaded()) == 1


async def test_close_ends_runners_with_requests_in_them(routed):
    async with routed() as router, router.lease("m:latest") as lease:
        events = lease.engine.generate(GenerateRequest(id=1, input=TextInput(text="hang on")))
        await anext(events)
        (model,) = router.loaded()
        async with asyncio.timeout(8):
            await router.close()
        assert not psutil.pid_exists(model.pid)
        assert [event async for event in events][-1].message == "m:latest was unloaded under the request."


SERVER = """
import asyncio, sys
from pathlib import Path
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_server.routing.router import Router
from aiadmin_server.routing.target import NothingLeft, Target
from aiadmin_server.settings import Settings

spec = ModelSpec(name="m:latest", digest="sha256:0", format="other", files=())

async def main():
    router = Router(
        resolve=lambda name, passed: Target(requested=name, resolved=name, spec=spec),
        plugins=load_plugins(only=["misbehaving"]),
        settings=Settings(state=Path(sys.argv[1])),
    )
    async with router.lease("m:latest") as lease:
        events = lease.engine.generate(GenerateRequest(id=1, input=TextInput(text=sys.argv[2])))
        await anext(events)
        print(router.loaded()[0].pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("prompt", ["hang on", "block everything"])
def test_a_runner_ends_with_its_server_also_in_mid_answer(tmp_path, prompt):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), prompt],
        env={**os.environ, "PYTHONPATH": str(PLUGIN)},
        stdout=subprocess.PIPE,
    )
    with server:
        runner = psutil.Process(int(server.stdout.readline()))
        assert runner.is_running()
        server.kill()
    _, alive = psutil.wait_procs([runner], timeout=15)
    assert not alive
