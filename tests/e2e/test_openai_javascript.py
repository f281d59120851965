"""OpenAI's JavaScript library against a real server and the real model."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]


def test_it_chats_streams_and_lists_models(server: Any, product: Any, node_modules: Path, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "javascript" / "chat.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules, target_is_directory=True)

    done = subprocess.run(
        ["node", "chat.mjs"],
        cwd=tmp_path,
        env=product.env(AIADMIN_URL=server.url),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert "test" in got["whole"].lower()
    assert got["streamed"] == got["whole"]
    assert got["finish"] == "stop"
    assert any(name.startswith("gpt-3.5-turbo") for name in got["models"])
    assert got["refusal"] == {"status": 404, "code": "model_not_found", "name": "NotFoundError"}
