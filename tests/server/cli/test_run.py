"""`aiadmin run` with a prompt, as a process, against its own server and a running one."""

import json
import signal
import subprocess
import sys

import psutil
import pytest

from aiadmin_server.cli._own_server import OwnServer
from aiadmin_server.cli._prompt import joined


def test_what_is_typed_comes_before_what_is_piped():
    assert joined("Repeat this:", "Water boils.\n") == "Repeat this:\n\nWater boils."
    assert joined("", "only piped\n") == "only piped"
    assert joined("only typed", "") == "only typed"


def test_run_answers_without_a_running_server_and_leaves_none_behind(aiadmin_process):
    done = aiadmin_process("run", "echo", "say", "this")

    assert (done.returncode, done.stdout, done.stderr) == (0, "[0 before] say this \n", "")


def test_run_uses_the_running_server(running, aiadmin_process):
    assert aiadmin_process("run", "echo", "hi").stdout == "[0 before] hi \n"
    assert "echo:latest" in aiadmin_process("ps").stdout, "it is loaded there, not elsewhere"


def test_piped_text_joins_the_prompt(running, aiadmin_process):
    assert aiadmin_process("run", "echo", "Repeat:", input="größer\n").stdout == "[0 before] Repeat:\n\ngrößer \n"
    assert aiadmin_process("run", "echo", input="alone").stdout == "[0 before] alone \n"


def test_options_reach_the_model(running, aiadmin_process):
    done = aiadmin_process("run", "echo", "hi", "--system", "Be brief.", "--temperature", "0", "--seed", "1")

    assert done.stdout == "[1 before] Be brief. | hi \n"


def test_json_prints_the_completion_and_nothing_else(running, aiadmin_process):
    done = aiadmin_process("run", "echo", "hi", "--json")

    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "[0 before] hi "
    assert done.stderr == ""


def test_only_the_answer_goes_to_stdout(serving, aiadmin_process):
    """What the model thought and how fast it was are not part of it."""
    serving()

    done = aiadmin_process("run", "echo", "think", "--verbose")

    assert done.stdout == "[0 before] think \n"
    assert "7 tokens" in done.stderr


def test_nothing_to_ask_is_misuse(aiadmin_process):
    done = aiadmin_process("run", "echo")

    assert done.returncode == 2
    assert "Nothing to ask" in done.stderr


def test_a_model_nobody_knows_fails_with_a_hint(running, aiadmin_process):
    done = aiadmin_process("run", "no-such-model", "hi")

    assert (done.returncode, done.stdout) == (1, "")
    assert "no-such-model" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_server_refuses_is_a_sentence(running, aiadmin_process):
    done = aiadmin_process("run", "echo", "hi", "--keep-alive", "soon")

    assert done.returncode == 1
    assert "keep_alive" in done.stderr


def test_a_number_out_of_range_is_misuse(invoke):
    done = invoke("run", "echo", "hi", "--temperature", "3")

    assert done.exit_code == 2
    assert "temperature cannot be '3': it is a number of at most 2." in done.stderr


def test_a_server_elsewhere_is_not_replaced_by_one_here(echo, aiadmin_process):
    echo["AIADMIN_HOST"] = "no-such-host.invalid:1"

    done = aiadmin_process("run", "echo", "hi")

    assert done.returncode == 1
    assert "http://no-such-host.invalid:1" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one process")
def test_ctrl_c_ends_an_answer_and_the_server_started_for_it(echo):
    with subprocess.Popen(
        [sys.executable, "-m", "aiadmin_server", "run", "echo", "slow"], stdout=subprocess.PIPE, text=True, env=echo
    ) as process:
        assert process.stdout
        assert process.stdout.read(20) == "[0 before] slow tick"
        (server,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=30) == 130
        assert not server.is_running()


def test_a_killed_command_takes_its_server_with_it(echo):
    with subprocess.Popen(
        [sys.executable, "-m", "aiadmin_server", "run", "echo", "slow"], stdout=subprocess.PIPE, text=True, env=echo
    ) as process:
        assert process.stdout
        process.stdout.read(1)
        (server,) = psutil.Process(process.pid).children()
        process.kill()

        psutil.wait_procs([server], timeout=30)
        assert not server.is_running()


def test_a_server_of_ones_own_that_dies_leaves_its_last_words(aiadmin_process):
    done = aiadmin_process("run", "echo", "die")

    assert (done.returncode, done.stdout) == (1, "")
    assert "my last words" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_of_ones_own_that_cannot_start_shows_why(echo, monkeypatch):
    monkeypatch.setenv("AIADMIN_MAX_QUEUE", "many")

    with pytest.raises(Exception, match="AIADMIN_MAX_QUEUE"), OwnServer():
        pass


def test_an_image_that_the_model_cannot_see_is_refused_by_name(running, aiadmin_process, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    done = aiadmin_process("run", "echo", "What", "is", "this?", str(tmp_path / "cat.png"))

    assert (done.returncode, done.stdout) == (1, "")
    assert "image" in done.stderr


@pytest.mark.parametrize("option", ["--think", "--think=high", "--no-think"])
def test_think_takes_no_word_of_the_prompt(running, aiadmin_process, option):
    """The echo engine does not think: the server says what it makes of that, and the prompt is whole."""
    done = aiadmin_process("run", "echo", option, "hi", "there")

    assert done.stdout == "[0 before] hi there \n" or "think" in done.stderr


def test_a_format_may_be_a_file_and_one_that_is_none_is_a_sentence(running, aiadmin_process, tmp_path):
    done = aiadmin_process("run", "echo", "hi", "--format", str(tmp_path / "none.json"))

    assert done.returncode == 1
    assert "--format takes `json`, a JSON schema, or a file that holds one" in done.stderr


def test_a_module_in_the_folder_of_the_user_is_none_of_the_servers(aiadmin_process, tmp_path):
    (tmp_path / "litestar.py").write_text("raise SystemExit('taken from the folder')")

    done = aiadmin_process("run", "echo", "hi", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "[0 before] hi \n")
