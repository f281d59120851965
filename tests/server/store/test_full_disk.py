"""A disk that fills up while a model is stored: a clear error, nothing half-written, and room again afterwards."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiadmin_core.errors import StoreError
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.store.disk import need_room
from aiadmin_server.store.store import ModelStore

MB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root on Linux may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_what_was_there(small_disk: Path, tmp_path: Path):
    store = ModelStore(small_disk / "models")
    (tmp_path / "small").write_bytes(b"1" * MB)
    (tmp_path / "large").write_bytes(b"2" * 3 * MB)
    small = store.add("small", FetchedModel(files=(FetchedFile(path=tmp_path / "small"),), format="gguf"))

    with pytest.raises(StoreError, match="disk is full") as caught:
        store.add("large", FetchedModel(files=(FetchedFile(path=tmp_path / "large"),), format="gguf"))

    assert "Free some space" in caught.value.hint
    assert [model.name for model in store.models()] == ["small:latest"]
    assert store.intact(small)
    assert list(store.scratch.iterdir()) == []
    store.remove("small")
    (tmp_path / "small").write_bytes(b"3" * (MB + MB // 2))
    store.add("other", FetchedModel(files=(FetchedFile(path=tmp_path / "small"),), format="gguf"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on a process's files")
def test_a_limit_on_file_size_is_like_a_full_disk(tmp_path: Path):
    """Everywhere but on Windows; stops a file in the middle as a full disk does."""
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from aiadmin_core.errors import StoreError
        from aiadmin_core.sources import FetchedFile, FetchedModel
        from aiadmin_server.store.store import ModelStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        store, path = ModelStore(Path(sys.argv[1])), Path(sys.argv[2])
        try:
            store.add("large", FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
        except StoreError as error:
            print(error)
        assert store.models() == []
        assert list(store.scratch.iterdir()) == []
    """)
    (tmp_path / "large").write_bytes(b"2" * 3 * MB)
    command = [sys.executable, "-c", script, str(tmp_path / "models"), str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The disk is full" in done.stdout


def test_a_download_that_cannot_fit_is_not_begun(tmp_path: Path):
    with pytest.raises(StoreError, match="not enough room"):
        need_room(tmp_path / "not" / "there", 1 << 60)
    need_room(tmp_path, 1)
