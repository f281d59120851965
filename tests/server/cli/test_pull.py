"""`aiadmin pull` as a process: what it prints, and what an interruption leaves."""

import json
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "Tiny Model.gguf"
    path.write_bytes(b"GGUF, as far as anybody looks")
    return path


def test_a_file_becomes_a_model_and_what_to_do_next_is_said(aiadmin_process, weights, store):
    done = aiadmin_process("pull", str(weights), "--as", "tiny")

    assert (done.returncode, done.stdout) == (0, "")
    assert "aiadmin run tiny" in done.stderr
    assert [model.name for model in store.models()] == ["tiny:latest"]


def test_a_file_used_in_place_stays_where_it_is(aiadmin_process, weights, store):
    done = aiadmin_process("pull", str(weights), "--as", "tiny", "--in-place")

    assert done.returncode == 0, done.stderr
    (model,) = store.models()
    assert model.files[0].path == str(weights)


def test_a_model_from_elsewhere_is_replaced_only_when_told_to(aiadmin_process, weights, tmp_path, store):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF of another kind")
    aiadmin_process("pull", str(weights), "--as", "tiny")

    refused = aiadmin_process("pull", str(other), "--as", "tiny")
    replaced = aiadmin_process("pull", str(other), "--as", "tiny", "--replace")

    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    assert replaced.returncode == 0
    assert store.find("tiny").origin.endswith("other.gguf")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["no-such-model"], 1, "127.0.0.1:1 cannot be reached for 'no-such-model:latest'"),
        (["https://127.0.0.1:1/a.gguf"], 1, "127.0.0.1:1 cannot be reached"),
        (["hf:foo/bar"], 1, "The hub cannot be reached for 'hf.co/foo/bar'"),
        (
            ["nowhere:foo/bar"],
            1,
            (
                "No source is called 'nowhere'.\n"
                "There are: endless, file, hf, http, https, link, modelscope, pypi, registry."
            ),
        ),
        (["./missing.gguf"], 1, "missing.gguf"),
        (["./missing.gguf", "--in-place"], 2, "--in-place takes a file"),
        ([], 2, "REFERENCE"),
    ],
)
def test_what_cannot_be_pulled_is_explained(aiadmin_process, arguments, status, said):
    done = aiadmin_process("pull", *arguments)

    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one process")
def test_an_interrupted_pull_says_how_to_go_on_and_leaves_no_model(echo, aiadmin_process):
    command = [sys.executable, "-m", "aiadmin_server", "pull", "endless:model", "--as", "half"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=echo) as process:
        assert process.stderr
        assert process.stderr.readline() == "fetching: 50 B of 100 B (50%)\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()

    assert process.returncode == 130
    assert "The same command goes on from here" in said
    models = [model["name"] for model in json.loads(aiadmin_process("list", "--json").stdout)]
    assert "half:latest" not in models
