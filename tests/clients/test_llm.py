"""Simon Willison's `llm`, the command, with this server in its extra-openai-models.yaml."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("llm")

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn", "Trier"]}},
    "required": ["city"],
    "additionalProperties": False,
}
MODELS = """
- model_id: small
  model_name: smollm2
  api_base: {base_url}
  supports_schema: true
  supports_tools: true
"""
Run = Callable[..., str]


@pytest.fixture
def run(base_url: str, tmp_path: Path) -> Run:
    """Run `llm ARGUMENTS` and give what it prints."""
    (tmp_path / "extra-openai-models.yaml").write_text(MODELS.format(base_url=base_url))
    env = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "any"}

    def running(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return running


ASK = ("-m", "small", "-o", "temperature", "0", "-o", "max_tokens", "40")


@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_it_answers(run: Run, how: tuple[str, ...]) -> None:
    assert "test" in run("prompt", *ASK, *how, "Say: this is a test.").lower()


def test_it_goes_on_with_a_conversation(run: Run) -> None:
    run("prompt", *ASK, "Say: this is a test.")

    assert run("prompt", "-c", "Say it again.")


def test_an_answer_keeps_to_its_schema(run: Run) -> None:
    answer = run("prompt", *ASK, "--schema", json.dumps(SCHEMA), "Where to?")

    assert json.loads(answer)["city"] in ("Bonn", "Trier")


def test_a_model_may_be_given_tools(run: Run) -> None:
    """Whether it calls one is left to the model: `llm` has no word for "it has to"."""
    function = 'def weather(city: str) -> str:\n    """The weather."""\n    return "Rain."'

    assert run("prompt", *ASK, "--functions", function, "Say: this is a test.").strip()
