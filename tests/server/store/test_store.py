"""Adding, finding, copying and removing models, and what is on disk afterwards."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import InvalidName, ModelExists, ModelNotFound, PullFailed, StoreError
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.manifest import digest_of
from aiadmin_server.store.store import ModelStore

Fetch = Callable[..., FetchedModel]
SHARED = "manifests/registry.ollama.ai/library"


def blobs(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "blobs").iterdir())


def names(store: ModelStore) -> list[str]:
    return [model.name for model in store.models()]


def test_a_folder_that_does_not_exist_is_an_empty_store(store: ModelStore, root: Path):
    assert store.models() == []
    assert store.problems() == []
    assert store.find("smollm2") is None
    assert not root.exists()


def test_a_model_is_a_manifest_and_blobs_by_digest(store: ModelStore, root: Path, fetched: Fetch):
    info = ModelInfo(format="gguf", architecture="llama", n_params=134515008, n_ctx_train=8192, quantization="Q4_1")
    seen: list[Progress] = []
    model = store.add(
        "SmolLM2",
        fetched(
            b"GGUF 1", parameters={"temperature": 0.2, "stop": ["a"]}, system="Be kind.", license="MIT", origin="x"
        ),
        info=info,
        progress=seen.append,
        expected_digest=digest_of(b"GGUF 1"),
    )

    assert model.name == "SmolLM2:latest"
    assert model.weights_digest == digest_of(b"GGUF 1")
    assert model.parameters == {"temperature": 0.2, "stop": ["a"]}
    assert (model.system, model.license, model.origin) == ("Be kind.", "MIT", "x")
    assert model.info.n_ctx_train == 8192
    assert model.info.parameter_size == "134.52M"
    assert (root / "blobs" / digest_of(b"GGUF 1").replace(":", "-")).read_bytes() == b"GGUF 1"
    assert [step.status for step in seen] == ["verifying sha256 digest", "writing manifest"]
    manifest = msgspec.json.decode((root / SHARED / "SmolLM2" / "latest").read_bytes())
    assert manifest["schemaVersion"] == 2
    assert [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]] == [
        "model", "system", "params", "license",
    ]  # fmt: skip
    assert set(manifest["layers"][0]) == {"mediaType", "digest", "size"}
    config = msgspec.json.decode((root / "blobs" / manifest["config"]["digest"].replace(":", "-")).read_bytes())
    assert (config["model_format"], config["model_family"], config["file_type"]) == ("gguf", "llama", "Q4_1")
    assert (config["model_type"], config["rootfs"]["type"]) == ("134.52M", "layers")


def test_a_spec_has_absolute_paths_of_files_that_were_checked(store: ModelStore, fetched: Fetch):
    spec = store.spec(store.add("m", fetched(b"GGUF 1", template="{{ messages }}")))
    file = spec.file("model")
    assert file is not None
    assert Path(file.path).is_absolute()
    assert Path(file.path).read_bytes() == b"GGUF 1"
    assert spec.template == "{{ messages }}"
    assert spec.digest != digest_of(b"GGUF 1"), "another template is another engine"


def test_names_are_found_in_any_case_and_keep_their_spelling_on_disk(store: ModelStore, fetched: Fetch):
    store.add("SmolLM2", fetched(b"1"))
    found = store.find("smollm2:LATEST")
    assert found is not None
    assert found.name == "SmolLM2:latest"
    assert store.add("sMOLlm2", fetched(b"2")).name == "SmolLM2:latest"
    assert names(store) == ["SmolLM2:latest"]


def test_find_refuses_what_is_no_name(store: ModelStore):
    with pytest.raises(InvalidName):
        store.find("../x")


def test_models_are_listed_newest_first(store: ModelStore, root: Path, fetched: Fetch):
    store.add("new", fetched(b"1"))
    store.add("old", fetched(b"2"))
    os.utime(root / SHARED / "old" / "latest", (1, 1))
    assert names(store) == ["new:latest", "old:latest"]


def test_a_copy_is_the_same_bytes_under_another_name(store: ModelStore, root: Path, fetched: Fetch):
    store.add("smollm2", fetched(b"1", origin="here", template="{{ x }}"))
    before = blobs(root)
    copied = store.copy("SMOLLM2", "gpt-3.5-turbo")
    original = store.find("smollm2")

    assert original is not None
    assert (copied.name, copied.digest, copied.origin, copied.template) == (
        "gpt-3.5-turbo:latest", original.digest, "here", "{{ x }}",
    )  # fmt: skip
    assert copied.weights_digest == original.weights_digest
    assert blobs(root) == before


def test_a_copy_replaces_silently_and_frees_what_only_the_old_one_needed(store: ModelStore, root: Path, fetched: Fetch):
    store.add("a", fetched(b"1"))
    store.add("b", fetched(b"2"))
    store.copy("a", "b")
    assert digest_of(b"2").replace(":", "-") not in blobs(root)
    assert store.intact(store.find("b"))


def test_a_copy_onto_itself_changes_nothing(store: ModelStore, root: Path, fetched: Fetch):
    store.add("Some", fetched(b"1"))
    path = root / SHARED / "Some" / "latest"
    os.utime(path, (1, 1))
    assert store.copy("some", "SOME").name == "Some:latest"
    assert path.stat().st_mtime == 1


def test_a_copy_of_nothing_says_so(store: ModelStore):
    with pytest.raises(ModelNotFound, match="'nothing' was not found"):
        store.copy("nothing", "b")


def test_removing_one_name_keeps_what_another_needs(store: ModelStore, root: Path, fetched: Fetch):
    store.add("a", fetched(b"1" * 100))
    store.copy("a", "me/b:x")
    assert store.remove("a") == 0
    assert store.intact(store.find("me/b:x"))
    assert not (root / SHARED).exists(), "empty folders go"
    assert store.remove("ME/b:x") > 100
    assert blobs(root) == []
    assert store.models() == []
    assert list((root / "aiadmin" / "written").iterdir()) == []


def test_removing_nothing_says_so_and_an_alias_says_what_it_is(store: ModelStore):
    with pytest.raises(ModelNotFound):
        store.remove("nothing")
    Aliases(store.aliases_path).set("gpt-4", Alias(target="smollm2"))
    with pytest.raises(ModelNotFound, match="alias of 'smollm2'"):
        store.remove("GPT-4")


def test_a_wrong_digest_stores_nothing(store: ModelStore, root: Path, fetched: Fetch):
    with pytest.raises(PullFailed, match=digest_of(b"1")):
        store.add("m", fetched(b"1"), expected_digest=digest_of(b"2"))
    assert store.models() == []
    assert blobs(root) == []
    assert list((root / "aiadmin" / "scratch").iterdir()) == []


def test_a_model_from_elsewhere_is_replaced_only_when_told_to(store: ModelStore, fetched: Fetch):
    store.add("m", fetched(b"1", origin="pypi:a"))
    with pytest.raises(ModelExists, match="came from pypi:a, and this is pypi:b") as caught:
        store.add("m", fetched(b"2", origin="pypi:b"))
    assert caught.value.status == 409
    assert store.find("m").weights_digest == digest_of(b"1")
    store.add("m", fetched(b"3", origin="pypi:a"))
    store.add("m", fetched(b"2", origin="pypi:b"), replace=True)
    assert store.find("m").weights_digest == digest_of(b"2")


def test_a_users_file_is_copied_not_moved_and_can_be_deleted_afterwards(store: ModelStore, fetched: Fetch):
    delivered = fetched(b"1")
    source = delivered.files[0].path
    model = store.add("m", delivered)
    assert not source.samefile(model.files[0].path)
    source.unlink()
    assert store.intact(model)


def test_a_file_in_the_stores_own_folder_is_moved(store: ModelStore):
    workdir = store.workdir("pypi:x")
    workdir.mkdir(parents=True)
    path = workdir / "x.gguf"
    path.write_bytes(b"1")
    store.add("m", FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
    assert not path.exists()


def test_a_link_to_a_file_is_followed(store: ModelStore, tmp_path: Path):
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    model = store.add("m", FetchedModel(files=(FetchedFile(path=tmp_path / "link"),), format="gguf"))
    assert not Path(model.files[0].path).is_symlink()
    assert Path(model.files[0].path).read_bytes() == b"1"


def test_a_file_that_stays_in_place_is_no_part_of_the_shared_folder(store: ModelStore, root: Path, fetched: Fetch):
    """Programs that share the folder could not find its bytes."""
    delivered = fetched(b"12345", in_place=True)
    model = store.add("m", delivered)
    assert store.spec(model).files[0].path == str(delivered.files[0].path)
    assert model.weights_digest == digest_of(b"12345")
    assert model.size > 5
    assert not (root / "manifests").exists()
    assert store.copy("m", "n").files == model.files
    store.remove("m")
    store.remove("n")
    assert delivered.files[0].path.exists()


def test_a_file_in_place_is_checked_when_it_was_touched(store: ModelStore, fetched: Fetch):
    delivered = fetched(b"12345", in_place=True)
    path = delivered.files[0].path
    model = store.add("m", delivered)

    os.utime(path, (1, 1))
    store.spec(model)  # the same bytes
    path.write_bytes(b"54321")
    with pytest.raises(StoreError, match="has changed since it was pulled"):
        store.spec(model)
    path.write_bytes(b"123")
    with pytest.raises(StoreError, match="has 3 bytes instead of 5"):
        store.spec(model)
    path.unlink()
    with pytest.raises(StoreError, match=r"cannot be read \(No such file") as caught:
        store.spec(model)
    assert "put the file back" in caught.value.hint
    assert not store.intact(model)


def test_a_model_of_several_files_keeps_their_names_and_roles(store: ModelStore, root: Path, tmp_path: Path):
    contents = {"model-1.safetensors": "model", "model-2.safetensors": "model", "config.json": "config"}
    for name in contents:
        (tmp_path / name).write_bytes(name.encode())
    files = tuple(FetchedFile(path=tmp_path / name, role=role, name=name) for name, role in contents.items())
    spec = store.spec(store.add("m", FetchedModel(files=files, format="safetensors")))
    assert {file.name: file.role for file in spec.files} == contents
    assert spec.format == "safetensors"
    assert all(Path(file.path).read_bytes() == file.name.encode() for file in spec.files)
    assert not (root / "manifests").exists(), "no other program of the layout could read it"
    store.remove("m")
    assert list((root / "aiadmin" / "blobs").iterdir()) == []


def test_a_model_without_weights_is_stored_for_a_remote_backend(store: ModelStore, tmp_path: Path):
    path = tmp_path / "upstream.json"
    path.write_text("{}")
    delivered = FetchedModel(files=(FetchedFile(path=path, role="config", name=path.name),), format="remote")
    model = store.add("far", delivered)
    assert store.spec(model).format == "remote"
    assert model.weights_digest == model.digest


def test_replacing_a_model_in_place_by_one_in_the_store_leaves_one(store: ModelStore, root: Path, fetched: Fetch):
    store.add("m", fetched(b"1", in_place=True))
    store.add("M", fetched(b"2"))
    assert names(store) == ["m:latest"]
    assert not list((root / "aiadmin" / "manifests").rglob("latest"))
    store.add("m", fetched(b"1", in_place=True))
    assert [model.weights_digest for model in store.models()] == [digest_of(b"1")]
    assert blobs(root) == []


def test_a_blob_that_was_cut_off_is_a_problem_and_is_repaired_by_adding_it_again(store: ModelStore, fetched: Fetch):
    model = store.add("m", fetched(b"12345"))
    blob = Path(model.files[0].path)
    blob.write_bytes(b"123")
    assert [problem.message for problem in store.problems()] == [
        f"its blob {digest_of(b'12345')[:19]} has 3 bytes instead of 5"
    ]
    with pytest.raises(StoreError, match="3 bytes instead of 5"):
        store.spec(model)
    store.add("m", fetched(b"12345"))
    assert store.problems() == []


def test_the_sidecar_may_be_missing_or_broken(store: ModelStore, root: Path, fetched: Fetch):
    store.add("m", fetched(b"1", origin="here"))
    record = next((root / "aiadmin" / "records").rglob("latest.json"))
    for content in (b"", b"{", b"[]", b'{"manifest": 3}', b"\xff"):
        record.write_bytes(content)
        (model,) = store.models()
        assert model.origin == ""
        assert store.intact(model)
    record.unlink()
    assert names(store) == ["m:latest"]


def test_a_record_of_an_earlier_manifest_is_not_believed(store: ModelStore, root: Path, fetched: Fetch):
    """Another program pulled the name anew."""
    store.add("m", fetched(b"1", origin="here"))
    store.add("other", fetched(b"2", origin="there"))
    (root / SHARED / "m" / "latest").write_bytes((root / SHARED / "other" / "latest").read_bytes())
    assert store.find("m").origin == ""


def test_an_end_between_blob_and_manifest_shows_nothing_and_is_cleared_away(
    store: ModelStore, root: Path, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
):
    def killed(path: Path, data: bytes, *, scratch: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("aiadmin_server.store.blobs.write_file", killed)
        with pytest.raises(KeyboardInterrupt):
            store.add("m", fetched(b"1"))
    assert store.models() == []
    assert blobs(root) == [digest_of(b"1").replace(":", "-")], "whole, under its final name"
    store.add("other", fetched(b"2"))
    assert len(blobs(root)) == 2
    assert digest_of(b"1").replace(":", "-") not in blobs(root)


def test_many_threads_and_names_at_once_leave_a_whole_store(root: Path, tmp_path: Path):
    def work(index: int) -> None:
        own = ModelStore(root)
        path = tmp_path / f"{index}.gguf"
        path.write_bytes(b"same" if index % 2 else str(index).encode())
        own.add(f"m{index}", FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
        own.copy(f"m{index}", "shared")
        if index % 3 == 0:
            own.remove(f"m{index}")

    threads = [threading.Thread(target=work, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = ModelStore(root)
    assert len(store.models()) == 9
    assert store.problems() == []
    assert all(store.intact(model) for model in store.models())


def test_two_processes_wait_for_each_other(root: Path, tmp_path: Path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from aiadmin_core.sources import FetchedFile, FetchedModel
        from aiadmin_server.store.store import ModelStore
        store, path = ModelStore(Path(sys.argv[1])), Path(sys.argv[2])
        for turn in range(20):
            path.write_bytes(f"{path}{turn}".encode())
            store.add("m", FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
            path.unlink()
    """)
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(root), str(tmp_path / f"{index}.gguf")])
        for index in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    store = ModelStore(root)
    (model,) = store.models()
    assert store.intact(model)
    assert len(blobs(root)) == 2, "one model file, one config"


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter there")
def test_a_folder_without_permission_says_what_to_do(root: Path, tmp_path: Path):
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        import filelock
        from aiadmin_core.errors import StoreError
        from aiadmin_core.sources import FetchedFile, FetchedModel
        from aiadmin_server.store.store import ModelStore
        store, path = ModelStore(Path(sys.argv[1])), Path(sys.argv[2])
        if os.geteuid() == 0:
            os.seteuid(65534)  # root may write anywhere
        try:
            store.add("m", FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
        except StoreError as error:
            print(error)
    """)
    (tmp_path / "m.gguf").write_bytes(b"1")
    root.mkdir()
    root.chmod(0o500)
    command = [sys.executable, "-c", script, str(root), str(tmp_path / "m.gguf")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    root.chmod(0o700)
    assert "No permission" in said
    assert "AIADMIN_MODELS" in said


def test_a_file_where_the_folder_should_be_is_a_store_error(root: Path, fetched: Fetch):
    root.write_text("not a folder")
    store = ModelStore(root)
    assert store.models() == []
    with pytest.raises(StoreError):
        store.add("m", fetched(b"1"))


def test_what_is_not_here_is_no_source_of_a_copy(store: ModelStore):
    with pytest.raises(ModelNotFound, match="aiadmin pull nothing"):
        store.copy("nothing", "x")
    with pytest.raises(ModelNotFound, match="aiadmin list"):
        store.remove("nothing")
    Aliases(store.aliases_path).set("short", Alias(target="nothing"))
    with pytest.raises(ModelNotFound, match="alias of 'nothing'"):
        store.copy("short", "x")
