"""A backend's own kind of file, pulled by its path: the backend claims it by recognising it."""

from pathlib import Path

import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import BadRequest, PullFailed
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.testing.echo import EchoBackend
from aiadmin_server.pull import pull
from aiadmin_server.sources import installed
from aiadmin_server.store.store import ModelStore


class Markov(EchoBackend):
    name = "markov"

    def suitability(self, model: ModelSpec) -> int | None:
        return 50 if model.format == "markov" else None

    def inspect(self, path: Path) -> ModelInfo | None:
        header = path / "chain.txt" if path.is_dir() else path
        known = header.is_file() and header.read_bytes().startswith(b"MARKOV")
        if known and b"cut" in header.read_bytes():
            raise BadRequest("It ends in the middle.", hint="Fetch it again.")
        return ModelInfo(format="markov", architecture="chain") if known else None


class Plugin:
    @hookimpl
    def aiadmin_backends(self):
        return [Markov()]


def fetch(reference: str, store: ModelStore):
    plugins = load_plugins(builtin=[("sources", installed), ("markov", Plugin())], only=[])
    return pull(reference, store=store, plugins=plugins, progress=lambda _: None)


@pytest.mark.parametrize("scheme", ["", "file:", "link:"])
def test_a_file_that_a_backend_recognises_is_a_model_of_its_format(tmp_path: Path, scheme: str):
    store = ModelStore(tmp_path / "models")
    (tmp_path / "x.markov").write_bytes(b"MARKOV a b")

    model = fetch(f"{scheme}{tmp_path / 'x.markov'}", store)

    assert (model.name, model.format, model.info.architecture) == ("x:latest", "markov", "chain")
    spec = ModelStore(store.root).spec(store.find("x"))
    assert Markov().suitability(spec) == 50
    assert Path(spec.file("model").path).read_bytes() == b"MARKOV a b"
    assert spec.parameters == {}
    assert not (store.root / "manifests").exists(), "no other program of the layout could read it"


def test_a_folder_that_a_backend_recognises_keeps_all_its_files(tmp_path: Path):
    store = ModelStore(tmp_path / "models")
    folder = tmp_path / "chain"
    folder.mkdir()
    (folder / "chain.txt").write_bytes(b"MARKOV")
    (folder / "more.bin").write_bytes(b"1")

    model = fetch(str(folder), store)

    assert model.format == "markov"
    assert {file.name for file in model.files} == {"chain.txt", "more.bin"}


def test_what_no_backend_recognises_is_no_model(tmp_path: Path):
    (tmp_path / "x.markov").write_bytes(b"something else")
    with pytest.raises(PullFailed, match="is no model"):
        fetch(str(tmp_path / "x.markov"), ModelStore(tmp_path / "models"))


def test_a_broken_file_of_a_backend_s_format_is_called_broken_in_the_backend_s_words(tmp_path: Path):
    (tmp_path / "x.markov").write_bytes(b"MARKOV cut")
    with pytest.raises(PullFailed, match=r"'x.markov' cannot be used: It ends in the middle\. Fetch it again\."):
        fetch(str(tmp_path / "x.markov"), ModelStore(tmp_path / "models"))
