"""Settings of other programs, as the documentation has them, can be read."""

import json
import re
from pathlib import Path

import pytest

EDITORS = Path(__file__).parents[2] / "docs" / "how-to" / "use-in-editors.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", EDITORS.read_text(), re.DOTALL)


def test_json_is_json():
    assert len(blocks("json")) == 2
    for block in blocks("json"):
        assert "localhost:11434" in json.dumps(json.loads(block))


def test_yaml_is_yaml():
    yaml = pytest.importorskip("yaml")
    (block,) = blocks("yaml")
    (model,) = yaml.safe_load(block)["models"]
    assert model["apiBase"] == "http://localhost:11434/v1"
