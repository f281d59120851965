"""The `ai` and `ollama` packages of npm: scripts that use them, and what they got."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def run(url: str, product: Any, node_modules: Path, tmp_path: Path) -> Run:
    """Run a script that stands beside this file."""

    def running(name: str) -> dict[str, Any]:
        shutil.copy(Path(__file__).with_name(name), tmp_path)
        (tmp_path / "node_modules").symlink_to(node_modules, target_is_directory=True)
        environment = product.env(AIADMIN_URL=url)
        done = subprocess.run(
            ["node", name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        got: dict[str, Any] = json.loads(done.stdout)
        return got

    return running


def test_vercels_ai_package(run: Run) -> None:
    got = run("ai.mjs")

    assert "test" in got["whole"].lower()
    assert got["usage"]["outputTokens"] > 1
    assert got["finish"] == "stop"
    assert "".join(got["pieces"]) == got["whole"]
    assert len(got["pieces"]) > 3
    for trip in (got["structured"], got["grown"], *got["asked"]):
        assert trip["city"] in ("Bonn", "Trier")
        assert 1 <= trip["days"] <= 7
    assert len(got["asked"]) == 2
    assert got["steps"] == 2
    assert got["called"] == got["streamed"]
    assert {"tool-input-start", "tool-input-delta", "tool-call", "tool-result", "text-delta"} <= set(got["kinds"])
    assert got["embeddings"] == [384, 384]
    assert got["refusal"]["status"] == 404
    assert "no-such-model" in got["refusal"]["message"]


def test_ollamas_package(run: Run) -> None:
    got = run("ollama.mjs")

    assert "test" in got["whole"].lower()
    assert got["done"] == "stop"
    assert "".join(got["pieces"]) == got["whole"]
    assert got["structured"]["city"] in ("Bonn", "Trier")
    assert got["calls"]
    assert all(call["name"] == "weather" and call["arguments"]["city"] in ("Bonn", "Trier") for call in got["calls"])
    assert got["told"]
    assert got["embeddings"] == [384, 384]
    assert {"smollm2:latest", "minilm:latest"} <= set(got["models"])
    assert {"completion", "tools"} <= set(got["capabilities"])
    assert got["refusal"]["status"] == 404
    assert "no-such-model" in got["refusal"]["message"]
