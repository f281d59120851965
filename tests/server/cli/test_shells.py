"""Completion and the manual page."""

import shutil
import subprocess

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_what_completes(aiadmin_process, shell, tmp_path):
    done = aiadmin_process("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_AIADMIN_COMPLETE" in done.stdout
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0


def completed(aiadmin_process, echo, line: str) -> list[str]:
    """What bash is offered at the end of a line."""
    words = line.split(" ")
    echo |= {"_AIADMIN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = aiadmin_process()
    assert done.stderr == ""
    return [offer.partition(",")[2] for offer in done.stdout.splitlines() if offer]


def test_verbs_options_and_models_are_completed(aiadmin_process, echo, add):
    add("smollm2")
    add("other")
    aiadmin_process("alias", "set", "small", "smollm2")
    assert completed(aiadmin_process, echo, "aiadmin al") == ["alias"]
    assert "--format" in completed(aiadmin_process, echo, "aiadmin run --form")
    for verb in ("run", "show", "rm", "cp", "set", "alias set x"):
        assert completed(aiadmin_process, echo, f"aiadmin {verb} SM") == ["small", "smollm2"]


def test_completion_is_silent_where_nothing_can_be_read(aiadmin_process, echo, tmp_path):
    (tmp_path / "c.toml").write_text("[")
    echo["AIADMIN_CONFIG"] = str(tmp_path / "c.toml")
    assert completed(aiadmin_process, echo, "aiadmin run s") == []


def test_the_manual_has_every_verb_and_option_and_no_mistake(aiadmin_process, tmp_path):
    from aiadmin_server.cli._verbs import VERBS

    done = aiadmin_process("man")
    assert done.returncode == 0
    page = done.stdout
    assert all(f".SS aiadmin {verb}\n" in page for verb in VERBS)
    assert ".SS aiadmin alias set\n" in page
    assert "\\-\\-keep\\-alive" in page
    if shutil.which("groff") is None:
        pytest.skip("groff is not here to read the page")
    command = ["groff", "-man", "-Tutf8", "-ww", "-z"]
    read = subprocess.run(command, input=page, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
