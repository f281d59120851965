"""What the tests of the command line share: a state folder of their own, and the command in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.cli import _plugins
from aiadmin_server.cli._group import aiadmin
from aiadmin_server.store.store import ModelStore, StoredModel


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder for this test's commands; no server at its address, no plugins but our own."""
    for variable in ("AIADMIN_MODELS", "AIADMIN_DEBUG", "AIADMIN_NOHISTORY"):
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
def add(store: ModelStore, tmp_path: Path) -> Callable[[str], StoredModel]:
    """Puts a small model into the store."""

    def add(name: str) -> StoredModel:
        path = tmp_path / "weights.gguf"
        path.write_bytes(b"GGUF" + name.encode())
        fetched = FetchedModel(
            files=(FetchedFile(path=path),),
            format="gguf",
            origin="file:weights.gguf",
            license="MIT\nLicense\nof\nmany lines",
        )
        return store.add(name, fetched)

    return add


@pytest.fixture
def invoke(state: Path) -> Callable[..., Result]:
    """Runs `aiadmin ARGUMENTS` in this process."""

    def invoke(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(aiadmin, list(arguments), input=input)

    return invoke
