"""What opens a model, in a runner as in the server: its dialects come from the plugins that have some."""

import asyncio
from types import SimpleNamespace

import pytest

from aiadmin_core.dialects.dialect import CallPiece, Dialect
from aiadmin_core.dialects.reasoning.marked import MarkedReasoning
from aiadmin_core.errors import PluginError
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.runner.opening import open_in_process
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_core.testing.echo import EchoBackend, EchoEngine
from aiadmin_core.testing.fake import FakeTokenEngine

MODEL = ModelSpec(name="m:latest", digest="", format="other", files=())


class TokenBackend(EchoBackend):
    """Opens an engine of the lower level."""

    def open_engine(self, model, options):
        return FakeTokenEngine()


class Everything(Dialect):
    """All that a model writes is a call."""

    name, calls, n_held = "everything", True, 0

    def recognises(self, template):
        return True

    def parser(self, prompt_tail, tools):
        return self

    def feed(self, text):
        return [CallPiece(name=text)]

    def end(self, token):
        return []


def test_a_token_engine_gets_the_dialects_of_the_plugins():
    talker = SimpleNamespace(
        aiadmin_dialects=hookimpl(lambda: [Everything(), MarkedReasoning("mine", "messages", "content")]),
    )

    async def capabilities(*builtin):
        plugins = load_plugins(builtin=builtin, only=[])
        engine = await open_in_process(TokenBackend(), MODEL, EngineOptions(), plugins=plugins)
        await engine.close()
        return engine.capabilities

    with_it, without = asyncio.run(capabilities(("talker", talker))), asyncio.run(capabilities())
    assert (with_it.reasoning, with_it.tools) == (True, True)
    assert (without.reasoning, without.tools) == (False, True)  # tools come to every model that converses


def test_a_runner_imports_the_plugins_it_is_told_and_no_others(start_runner, tmp_path):
    site, imported = tmp_path / "site", tmp_path / "imported"
    for name in ("talker", "other"):
        about = site / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[aiadmin]\n{name} = plugin_{name}\n")
        (site / f"plugin_{name}.py").write_text(f"open({str(imported)!r}, 'a').write('{name} ')\n")

    async def main():
        async with start_runner(site=site, dialects=("talker",)) as runner:
            engine = await runner.engine()
            await engine.close()

    asyncio.run(main())
    assert imported.read_text() == "talker "


class Unfinished:
    """An engine that somebody is still writing."""

    capabilities = Capabilities()
    facts = {"n_ctx": 512}
    generate = stats = close = print


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (None, "The backend 'echo' opened None, which is no Engine: it has no 'capabilities'."),
        (EchoEngine, "The backend 'echo' opened the class EchoEngine, not an instance of it."),
        (
            Unfinished(),
            "which is no Engine: its 'facts' is a dict, not a ModelFacts",
        ),
        (SimpleNamespace(submit=print), "opened a SimpleNamespace, which is no TokenEngine: it has no"),
    ],
)
async def test_what_is_no_engine_is_named_with_its_backend(engine, said):
    class Backend(EchoBackend):
        def open_engine(self, model, options):
            return engine

    with pytest.raises(PluginError) as raised:
        await open_in_process(Backend(), MODEL, EngineOptions())
    assert said in raised.value.message
