"""What the tests of the command line share: a state folder of their own, and the command in this process."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.cli import _plugins
from aiadmin_server.cli._group import aiadmin
from aiadmin_server.store.store import ModelStore, StoredModel

AIADMIN = (sys.executable, "-m", "aiadmin_server")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder for this test's commands; no server at its address, no plugins but our own."""
    for variable in ("AIADMIN_MODELS", "AIADMIN_DEBUG", "AIADMIN_NOHISTORY", "AIADMIN_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AIADMIN_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("AIADMIN_HOST", "127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("AIADMIN_PLUGINS", "none")
    _plugins.installed_plugins.cache_clear()
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> ModelStore:
    return ModelStore(state / "models")


@pytest.fixture
def add(store: ModelStore, tmp_path: Path) -> Callable[..., StoredModel]:
    """Puts a small model into the store."""

    def add(name: str, **more: Any) -> StoredModel:
        path = tmp_path / "weights.gguf"
        path.write_bytes(b"GGUF" + name.encode())
        fetched = FetchedModel(
            files=(FetchedFile(path=path),),
            format="gguf",
            origin="file:weights.gguf",
            **{"license": "MIT\nLicense\nof\nmany lines", **more},
        )
        return store.add(name, fetched)

    return add


@pytest.fixture
def invoke(state: Path) -> Callable[..., Result]:
    """Runs `aiadmin ARGUMENTS` in this process."""

    def invoke(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(aiadmin, list(arguments), input=input)

    return invoke


ECHO = '''
import asyncio
import os
import sys
import threading
from aiadmin_core.backend import Health
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.sources import Progress
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.content import plain_text
from aiadmin_core.specs.events import Finished, ReasoningDelta, Started, TextDelta, Usage
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec


class EchoEngine:
    capabilities = Capabilities(sampling=frozenset({"temperature", "seed"}), constraints=frozenset({"json_object"}))
    facts = ModelFacts(n_ctx=512)

    async def generate(self, request):
        """Says what was said: the last message, or "system | last" where there is a system message. "slow" never ends,
        "a while" lasts one, "think" thinks first, "die" takes the server along."""
        *earlier, last = [plain_text(message.content) for message in request.messages]
        if last == "die":
            print("my last words", file=sys.stderr, flush=True)
            os._exit(1)
        yield Started(request.id, len(request.messages))
        if last == "think":
            yield ReasoningDelta(request.id, "hmm")
        text = f"[{len(earlier)} before] " + (f"{earlier[0]} | " if request.messages[0].role == "system" else "") + last
        for word in text.split(" "):
            yield TextDelta(request.id, word + " ")
        for _ in range(100 if last == "a while" else 0):
            await asyncio.sleep(0.01)
            yield TextDelta(request.id, "tick ")
        if last == "a while":
            yield TextDelta(request.id, "the end")
        while last == "slow":
            await asyncio.sleep(0.01)
            yield TextDelta(request.id, "tick ")
        yield Finished(request.id, "stop", Usage(prompt_tokens=7, completion_tokens=3))

    def stats(self):
        return EngineStats()

    async def close(self):
        pass


class EchoBackend:
    name = "echo"

    def suitability(self, model):
        return 50

    def inspect(self, path):
        return None

    def build_id(self):
        return ""

    def health(self):
        return Health(ok=True, summary="always well")

    def models(self):
        return [ModelSpec(name="echo:latest", digest="", format="other", files=())]

    def open_engine(self, model, options):
        return EchoEngine()


class EndlessSource:
    scheme = "endless"

    def claims(self, reference):
        return False

    def origin(self, reference):
        return "endless:"

    def fetch(self, reference, *, workdir, progress, expected_digest=""):
        """Half of it arrives, then nothing."""
        progress(Progress(status="fetching", completed=50, total=100))
        threading.Event().wait()


@hookimpl
def aiadmin_backends():
    return [EchoBackend()]


@hookimpl
def aiadmin_sources():
    return [EndlessSource()]
'''


@pytest.fixture(scope="session")
def echo_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed plugin: a backend that says what was said, with the model `echo`."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "aiadmin_cli_echo-0.1.dist-info"
    metadata.mkdir()
    (site / "aiadmin_cli_echo.py").write_text(ECHO)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: aiadmin-cli-echo\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[aiadmin]\nclecho = aiadmin_cli_echo\n")
    return site


def with_echo(site: Path, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _SIZE}
    own = {"PYTHONPATH": str(site), "AIADMIN_PLUGINS": "clecho", "AIADMIN_IN_PROCESS": "1"}
    nobody_answers = {"AIADMIN_REGISTRY": "http://127.0.0.1:1", "HF_ENDPOINT": "http://127.0.0.1:1"}
    return inherited | own | nobody_answers | more


_SIZE = ("COLUMNS", "LINES")
"""Of the terminal that runs the tests: xdist sets them for its workers, and they win over a terminal's own size."""


@pytest.fixture
def echo(echo_site: Path, state: Path) -> dict[str, str]:
    """The environment of commands that find one plugin, the echo backend, and no server."""
    return with_echo(echo_site)


@pytest.fixture(scope="session")
def shared_server(echo_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running `aiadmin serve` with the echo backend, for tests that leave it as it is."""
    environment = with_echo(echo_site, AIADMIN_STATE=str(tmp_path_factory.mktemp("state")))
    command = [*AIADMIN, "serve", "--port", "0", "--child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        yield json.loads(process.stdout.readline())["url"]
        process.kill()


@pytest.fixture
def running(shared_server: str, echo: dict[str, str]) -> str:
    """Points this test's commands at the shared server."""
    echo["AIADMIN_HOST"] = shared_server
    return shared_server


@pytest.fixture
def aiadmin_process(echo: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `aiadmin ARGUMENTS` in a process of its own, with the echo backend."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        given = {"stdin": subprocess.DEVNULL} if "input" not in options else {}
        return subprocess.run(
            [*AIADMIN, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=echo,
            **given,
            **options,
        )

    return run


@pytest.fixture
def serving(echo: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `aiadmin serve --port 0 ARGUMENTS`, waits for its first line, and points AIADMIN_HOST at it."""
    started: list[subprocess.Popen[str]] = []

    def serve(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [*AIADMIN, "serve", "--port", "0", *arguments]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=echo | environment)
        started.append(process)
        assert process.stdout
        process.line = process.stdout.readline()  # type: ignore[attr-defined]
        url = re.search(r"http://[\d.]+:\d+", process.line)  # type: ignore[attr-defined]
        assert url, process.communicate()[1]
        process.url = echo["AIADMIN_HOST"] = url[0]  # type: ignore[attr-defined]
        return process

    yield serve
    for process in started:
        with process:
            process.kill()
