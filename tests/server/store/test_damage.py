"""Files that change behind the store's back: what is believed, what is hashed again, what repairs a damaged one."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aiadmin_core.errors import StoreError
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_server.routing.target import Target
from aiadmin_server.store.disk import Report, clone, hash_file
from aiadmin_server.store.manifest import digest_of
from aiadmin_server.store.records import Record
from aiadmin_server.store.store import ModelStore, StoredModel

Fetch = Callable[..., FetchedModel]


def blob(model: StoredModel) -> Path:
    return Path(model.files[0].path)


def damage(path: Path, *, unnoticed: bool = False) -> None:
    """Change a byte, as a disk may, keeping the size; `unnoticed`: and the time."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns if unnoticed else before.st_mtime_ns + 1))


@pytest.fixture
def hashed() -> list[Path]:
    """Every file that `store` hashes after it was stored."""
    return []


@pytest.fixture
def open_store(root: Path, hashed: list[Path]) -> Callable[[], ModelStore]:
    """The store, as another process would open it."""

    def counted(path: Path, report: Report) -> str:
        hashed.append(path)
        return hash_file(path, report)

    return lambda: ModelStore(root, hash_file=counted)


@pytest.fixture
def store(open_store: Callable[[], ModelStore]) -> ModelStore:
    return open_store()


def test_a_blob_that_was_damaged_is_not_loaded(store: ModelStore, fetched: Fetch):
    model = store.add("m", fetched(b"12345"))
    damage(blob(model))
    with pytest.raises(StoreError, match="has changed since it was pulled") as caught:
        store.spec(model)
    assert "aiadmin doctor --verify" in caught.value.hint
    assert not store.intact(model)
    with pytest.raises(StoreError, match="has changed"):
        ModelStore(store.root).spec(model)


def test_a_blob_that_nobody_touched_is_not_read_again(store: ModelStore, fetched: Fetch, hashed: list[Path]):
    model = store.add("m", fetched(b"12345"))
    for _ in range(3):
        store.spec(model)
        assert store.intact(model)
        ModelStore(store.root).spec(model)
    assert blob(model) not in hashed


@pytest.mark.parametrize("unnoticed", [False, True])
def test_adding_it_again_repairs_a_damaged_blob(store: ModelStore, fetched: Fetch, unnoticed: bool):
    model = store.add("m", fetched(b"12345"))
    damage(blob(model), unnoticed=unnoticed)
    assert not store.intact(model, thorough=True)
    store.add("m", fetched(b"12345"), replace=True)
    assert blob(model).read_bytes() == b"12345"
    assert store.intact(model, thorough=True)


def test_adding_it_under_another_name_repairs_it_for_both(store: ModelStore, fetched: Fetch):
    model = store.add("m", fetched(b"12345"))
    damage(blob(model))
    store.add("other", fetched(b"12345"))
    assert store.intact(model, thorough=True)


def test_a_damaged_config_or_text_is_repaired_as_well(store: ModelStore, fetched: Fetch):
    delivered = fetched(b"12345", system="Be kind.", parameters={"temperature": 0.5})
    model = store.add("m", delivered)
    for path in (store.root / "blobs").iterdir():
        damage(path)
    assert len(store.verify()) == 4
    assert not store.intact(model)
    store.add("m", fetched(b"12345", system="Be kind.", parameters={"temperature": 0.5}))
    assert store.verify() == []
    assert store.find("m").system == "Be kind."


def test_verify_names_every_damaged_file_and_its_repair(store: ModelStore, fetched: Fetch, tmp_path: Path):
    store.add("whole", fetched(b"1"))
    known = store.add("known", fetched(b"22", origin="file:/some where/x.gguf"))
    linked = store.add("linked", fetched(b"333", in_place=True, origin="file:/y.gguf"))
    unknown = store.add("unknown", fetched(b"4444"))
    for model in (known, linked, unknown):
        damage(blob(model), unnoticed=True)

    found = {problem.path: problem for problem in store.verify()}

    assert set(found) == {"known:latest", "linked:latest", "unknown:latest"}
    assert found["known:latest"].hint == "`aiadmin pull 'file:/some where/x.gguf' --as known:latest --replace`"
    assert "aiadmin rm unknown:latest" in found["unknown:latest"].hint
    with pytest.raises(StoreError, match="has changed"):
        store.spec(known)  # what was found wrong is not loaded any more


def test_blobs_of_another_program_are_believed_until_somebody_asks(store: ModelStore, fetched: Fetch, hashed):
    """Its whole folder is not read because it was opened here."""
    model = store.add("m", fetched(b"12345"))
    for stamp in (store.root / "aiadmin" / "verified").iterdir():
        stamp.unlink()
    theirs = ModelStore(store.root)
    damage(blob(model))
    assert theirs.spec(model)
    assert not theirs.intact(model)
    with pytest.raises(StoreError, match="has changed"):
        theirs.spec(model)


def test_editing_the_users_file_in_place_does_not_change_the_model(store: ModelStore, fetched: Fetch):
    delivered = fetched(b"12345")
    model = store.add("m", delivered)
    with delivered.files[0].path.open("r+b") as file:
        file.write(b"54321")
    assert blob(model).read_bytes() == b"12345"
    assert store.intact(model, thorough=True)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_that_is_a_blob_of_another_model_stays_its_owners(store: ModelStore, fetched: Fetch, in_place: bool):
    files = (FetchedFile(path=fetched(b"2").files[0].path, name="a"), FetchedFile(path=fetched(b"3").files[0].path))
    for owner in (
        store.add("shared", fetched(b"1")),
        store.add("private", FetchedModel(files=files, format="safetensors")),  # in `aiadmin/blobs`, ours alone
    ):
        file = FetchedFile(path=blob(owner), keep_in_place=in_place)
        second = store.add("second", FetchedModel(files=(file,), format="gguf"), replace=True)
        assert store.intact(owner)
        store.remove(owner.name)
        assert store.intact(second), "and is not lost with its first owner"


def test_a_clone_is_another_file_or_nothing_at_all(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"1" * 10_000)
    if clone(tmp_path / "a", tmp_path / "b"):
        assert (tmp_path / "b").read_bytes() == b"1" * 10_000
        assert not (tmp_path / "a").samefile(tmp_path / "b")
    else:
        assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_that_is_written_while_it_is_read_is_no_model(store: ModelStore, fetched: Fetch, in_place: bool):
    """Nor does one that grows keep us reading for ever."""
    delivered = fetched(b"1" * 100, in_place=in_place)
    path = delivered.files[0].path

    def write(progress: object) -> None:
        with path.open("ab") as file:
            file.write(b"2")

    with pytest.raises(StoreError, match="was written while it was read"):
        store.add("m", delivered, progress=write)
    assert list(store.scratch.glob("*")) == []


def test_a_file_that_was_touched_is_read_once_for_all_who_ask(
    store: ModelStore, root: Path, fetched: Fetch, hashed: list[Path]
):
    """Also where nothing can be written down: in a store of somebody else's, a request must not cost a second a GB."""
    model = store.add("m", fetched(in_place=True))
    os.utime(blob(model), (1, 1))
    shutil.rmtree(root / "aiadmin" / "verified")
    (root / "aiadmin" / "verified").touch()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.spec(model), range(8)))
    store.spec(model)
    assert hashed == [blob(model)]


async def test_a_file_that_is_being_hashed_holds_up_nobody_else(root: Path, fetched: Fetch):
    """However many wait for it: none of them keeps a thread."""
    go_on = threading.Event()

    def stalls(path: Path, report: Report) -> str:
        if path == blob(slow):
            go_on.wait(30)
        return hash_file(path, report)

    store = ModelStore(root, hash_file=stalls)
    slow, quick = store.add("slow", fetched(b"1", in_place=True)), store.add("quick", fetched(b"2", in_place=True))
    for model in (slow, quick):
        os.utime(blob(model), (1, 1))

    def target(model: StoredModel) -> Target:
        spec = store.unchecked_spec(model)
        return Target(requested=model.name, resolved=model.name, spec=spec, doubts=store.doubts(spec))

    async def ask(model: StoredModel) -> None:
        await (await asyncio.to_thread(target, model)).checked()

    waiting = [asyncio.create_task(ask(slow)) for _ in range(100)]
    leaving = asyncio.create_task(ask(slow))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait_for(ask(quick), 10)
    assert not any(task.done() for task in waiting)
    go_on.set()
    await asyncio.gather(*waiting)


def test_checking_a_touched_file_loses_no_record_of_a_pull_meanwhile(store: ModelStore, fetched: Fetch, tmp_path: Path):
    """What was learnt of a file is a file of its own."""
    model = store.add("m", fetched(b"1", in_place=True, origin="x"))
    os.utime(blob(model), (1, 1))
    before = store.doubts(store.unchecked_spec(model))
    store.add("m", fetched(b"2", in_place=True, origin="x", template="{{ new }}"))
    for doubt in before:
        doubt.judge(doubt.digest.result())
    now = store.find("m")
    assert (now.origin, now.template) == ("x", "{{ new }}")


def test_what_an_earlier_version_knew_of_a_file_in_place_is_believed(
    store: ModelStore, open_store: Callable[[], ModelStore], fetched: Fetch, hashed: list[Path]
):
    model = store.add("m", fetched(b"1", in_place=True))
    for stamp in (store.root / "aiadmin" / "verified").iterdir():
        stamp.unlink()
    name = store._spelled(store.private.names().__next__()[0])
    record = store._records.get(name, model.digest)
    mtimes = {str(blob(model)): blob(model).stat().st_mtime_ns}
    store._records.put(name, Record(manifest=record.manifest, mtimes=mtimes))
    open_store().spec(model)
    assert hashed == []


def test_another_pull_does_not_sweep_what_is_being_staged(store: ModelStore, fetched: Fetch):
    """The user's file is years old; what is made of it is not."""
    delivered = fetched(b"1")
    os.utime(delivered.files[0].path, (1, 1))
    other = fetched(b"2")

    def meanwhile(progress: Progress) -> None:
        if progress.status == "verifying sha256 digest":
            ModelStore(store.root).add("other", other)

    assert store.intact(store.add("m", delivered, progress=meanwhile))


def test_what_was_known_of_files_goes_with_their_models(store: ModelStore, fetched: Fetch):
    store.add("m", fetched(b"1"))
    store.add("n", fetched(b"2", in_place=True))
    for name in ("m", "n"):
        store.remove(name)
    assert list((store.root / "aiadmin" / "verified").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="strace-like checks of durability need /proc")
def test_every_new_folder_is_durable_before_its_file_is_claimed(root: Path, fetched: Fetch, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr("aiadmin_server.store.disk.sync_folder", synced.append)
    model = ModelStore(root).add("m", fetched(b"1"))
    assert {root.parent, root, blob(model).parent} <= set(synced)
    assert root / "manifests" / "registry.ollama.ai" / "library" / "m" in synced


def test_doctor_verify_repairs_nothing_and_says_what_does(store: ModelStore, fetched: Fetch, tmp_path: Path):
    model = store.add("m", fetched(b"1", origin="file:/x.gguf"))
    damage(blob(model), unnoticed=True)
    environment = os.environ | {
        "AIADMIN_MODELS": str(store.root), "AIADMIN_STATE": str(tmp_path), "AIADMIN_PLUGINS": "none",
        "AIADMIN_HOST": "127.0.0.1:9",
    }  # fmt: skip
    command = [sys.executable, "-m", "aiadmin_server", "doctor", "--verify"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "m:latest: its file" in done.stdout
    assert "aiadmin pull file:/x.gguf --as m:latest --replace" in done.stdout
    assert digest_of(blob(model).read_bytes()) != model.files[0].digest
