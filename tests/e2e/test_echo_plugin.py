"""The example in the documentation, as a stranger would publish and use it."""

import itertools
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import httpx
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "aiadmin-backend-echo"


@pytest.fixture
def echo_product(product: Any, echo_site: Path, tmp_path: Path) -> Any:
    own = product.clone(tmp_path / "state")
    own.environment["PYTHONPATH"] = str(echo_site)
    return own


def test_its_model_is_listed_and_answers_openai_clients(echo_product: Any) -> None:
    with echo_product.serve(AIADMIN_PLUGINS="echo") as server:
        models = httpx.get(f"{server.base_url}models").json()["data"]
        answer = httpx.post(
            f"{server.base_url}chat/completions",
            json={"model": "echo", "messages": [{"role": "user", "content": "hello there"}]},
            timeout=60,
        ).json()

    assert "echo" in [model["id"].partition(":")[0] for model in models]
    assert answer["choices"][0]["message"]["content"].strip() == "hello there"


def test_it_passes_the_conformance_kit(echo_product: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--pyargs", "aiadmin_core.testing", "--aiadmin-backend", "echo"],
        env=echo_product.env(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_plugins_names_it_with_its_version_and_hooks(echo_product: Any) -> None:
    listed = json.loads(echo_product.run("plugins", "--json").stdout)

    echo = next(plugin for plugin in listed if plugin["name"] == "echo")
    assert echo["version"] == "0.1.0"
    assert "aiadmin_backends" in echo["hooks"]


def test_a_plugin_that_cannot_be_imported_is_named_and_does_not_stop_the_others(
    echo_product: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    info = broken / "aiadmin_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aiadmin-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[aiadmin]\nbroken = aiadmin_broken_plugin\n")
    (broken / "aiadmin_broken_plugin.py").write_text("raise ImportError('no such library')\n")
    echo_product.environment["PYTHONPATH"] += os.pathsep + str(broken)

    listed = {plugin["name"]: plugin for plugin in json.loads(echo_product.run("plugins", "--json").stdout)}

    assert "no such library" in listed["broken"]["error"]
    assert not listed["echo"]["error"]
    assert "hi" in echo_product.run("run", "echo", "hi").stdout


def commands(page: Path) -> list[str]:
    """The shell blocks of a page that it says are run here."""
    tokens = MarkdownIt().parse(page.read_text())
    return [
        block.content
        for comment, block in itertools.pairwise(tokens)
        if f"run by tests/e2e/{Path(__file__).name}" in comment.content and block.info == "bash"
    ]


@pytest.mark.parametrize(
    ("page", "folder"),
    [(ROOT / "docs" / "how-to" / "write-a-backend.md", ROOT), (EXAMPLE / "README.md", EXAMPLE)],
    ids=["how-to", "readme"],
)
def test_the_commands_of_the_page_work_as_they_stand_in_a_new_environment(
    page: Path, folder: Path, tmp_path: Path
) -> None:
    """In the folder the page names: pytest reads the configuration, and the conftest, that it finds there."""
    venv.create(tmp_path / "venv", with_pip=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIADMIN_", "PYTHON"))}
    environment = inherited | {
        "AIADMIN_HOST": "127.0.0.1:1",  # not a server that somebody runs on this machine
        "AIADMIN_STATE": str(tmp_path / "state"),
        "PATH": os.pathsep.join([str(tmp_path / "venv" / "bin"), os.environ["PATH"]]),
    }
    said = []
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)

    assert "hello there" in said[0]
    assert "passed" in said[-1]
