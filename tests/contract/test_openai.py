"""The conformance kit on the backend that forwards. Its upstream is another aiadmin, served over a real connection,
whose token engine follows a script: so every behaviour crosses both servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.backend import Backend, Engine, Health
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_core.testing.asking import NotClaimed
from aiadmin_core.testing.conformance import BEHAVIOURS, Behaviour, check
from aiadmin_core.testing.fake import FakeTokenEngine
from aiadmin_core.testing.opening import open_for_test
from aiadmin_openai.remote import RemoteModel, write
from aiadmin_server.apis import builtin
from aiadmin_server.app import Server, bind, create_app, uvicorn_config
from aiadmin_server.settings import Settings

NAME = "scripted:latest"


class ScriptedBackend:
    """The upstream's: a model without files, and without a model behind it."""

    name = "scripted"
    in_process = True

    def models(self) -> Sequence[ModelSpec]:
        return [ModelSpec(name=NAME, digest="sha256:scripted", format="other", files=())]

    def suitability(self, model: ModelSpec) -> int | None:
        return 50 if model.name == NAME else None

    def inspect(self, path: Path) -> None:
        return None

    def build_id(self) -> str:
        return ""

    def health(self) -> Health:
        return Health(ok=True, summary="scripted")

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> Any:
        return FakeTokenEngine()


class ScriptedPlugin:
    @hookimpl
    def aiadmin_backends(self) -> Sequence[Backend]:
        return [ScriptedBackend()]


@contextlib.asynccontextmanager
async def upstream(state: Path) -> AsyncIterator[str]:
    """The base URL of an aiadmin that serves the scripted model."""
    settings = Settings(port=0, models=state / "models", state=state)
    plugins = load_plugins(builtin=[("apis", builtin), ("scripted", ScriptedPlugin())], only=[])
    app = create_app(settings, plugins=plugins)
    listener = bind(settings)
    ready = asyncio.Event()
    server = Server(uvicorn_config(app, settings), lambda host, port: ready.set())
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(30):
            await ready.wait()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await running
        listener.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Engine]]:
    state = tmp_path_factory.mktemp("state")
    stack = contextlib.AsyncExitStack()

    async def enter() -> Engine:
        url = await stack.enter_async_context(upstream(state))
        write(RemoteModel(upstreams=(url,), model="scripted"), state / "upstream.json")
        engine = await asyncio.to_thread(open_for_test, "openai", str(state / "upstream.json"))
        stack.push_async_callback(engine.close)
        return engine

    with asyncio.Runner() as runner:
        engine = runner.run(enter())
        yield runner, engine
        runner.run(stack.aclose())


NOT_CLAIMED = {
    "a_prompt_that_does_not_fit_is_refused_with_both_numbers",  # the context is the other server's business
    "embeddings_have_length_one",
    "tokens_turn_back_into_the_text",
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))
def test_conformance(behaviour: Behaviour, opened: tuple[asyncio.Runner, Engine]) -> None:
    runner, engine = opened
    try:
        runner.run(check(behaviour, engine))
    except NotClaimed:
        assert behaviour.__name__ in NOT_CLAIMED  # everything else the kit knows is claimed
