"""`aiadmin serve`, `ps` and `stop`, as processes."""

import json
import signal
import socket
import time
from datetime import UTC, datetime

import httpx
import pytest

from aiadmin_server.cli._client import Listener
from aiadmin_server.cli._serving import in_use
from aiadmin_server.cli.ps import row, until
from aiadmin_server.cli.serve import with_options
from aiadmin_server.settings import Settings

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


def test_serve_says_where_once_it_takes_requests(serving):
    server = serving()

    assert server.line == f"AiAdmin is serving on {server.url}/v1 (Ctrl-C ends it)\n"
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).json()
    assert answer["choices"][0]["message"]["content"].strip() == "[0 before] hi"


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_cleanly_and_quietly(serving, sig):
    server = serving()

    server.send_signal(sig)
    out, err = server.communicate(timeout=20)

    assert (server.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2, "no wall of logs"


def test_a_second_ctrl_c_ends_the_server_at_once(serving):
    """A stream is running: the first signal waits for it, the second does not."""
    server = serving()
    slow = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "slow"}]}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=slow) as response:
        lines = response.iter_lines()  # kept: dropping it closes the connection
        next(lines)
        server.send_signal(signal.SIGINT)
        assert server.stderr.readline() == "Ending when 1 request is answered; Ctrl-C again ends at once.\n"
        asked = time.monotonic()
        server.send_signal(signal.SIGINT)
        server.wait(timeout=20)

        assert server.returncode == 130
        assert time.monotonic() - asked < 5


def test_a_child_announces_itself_as_json_and_ends_with_its_standard_input(serving):
    child = serving("--child")

    assert json.loads(child.line) == {"url": child.url}
    child.stdin.close()
    assert child.wait(timeout=20) == 0


def test_a_child_ends_on_a_signal_while_its_standard_input_is_open(serving):
    child = serving("--child")

    child.send_signal(signal.SIGTERM)

    assert child.wait(timeout=20) == 0
    assert child.stderr.read() == ""


def test_a_port_that_an_aiadmin_has_is_said_to_be_one(serving, aiadmin_process):
    server = serving()

    second = aiadmin_process("serve", "--port", server.url.rpartition(":")[2])

    assert (second.returncode, second.stdout) == (1, "")
    assert "AiAdmin 0.1.0 is already serving on" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_comes_with_the_next_one():
    assert "--port 11435" in in_use(Settings(port=11434), Listener(kind="stranger")).hint


def test_ps_lists_what_is_loaded_and_stop_unloads_it(serving, aiadmin_process):
    server = serving()
    nothing = aiadmin_process("ps")
    httpx.post(f"{server.url}/v1/chat/completions", json=CHAT)

    listed = aiadmin_process("ps").stdout.splitlines()
    stopped = aiadmin_process("stop", "echo")

    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert listed[0].split() == ["NAME", "BACKEND", "PID", "SIZE", "CONTEXT", "ACTIVE", "UNTIL", "NOTES"]
    assert listed[1].split()[:2] == ["echo:latest", "echo"]
    assert "asked for as 'echo', loaded in" in listed[1]
    assert (stopped.returncode, stopped.stderr) == (0, "Stopped echo.\n")
    after = json.loads(aiadmin_process("ps", "--json").stdout)
    assert after["models"] == []
    assert [(gone["name"], gone["reason"]) for gone in after["unloaded"]] == [("echo:latest", "told to, as 'echo'")]


def test_stopping_what_no_model_is_called_fails_with_the_nearest_name(running, aiadmin_process):
    done = aiadmin_process("stop", "ecko")

    assert (done.returncode, done.stdout) == (1, "")
    assert "The model 'ecko' was not found. Did you mean 'echo'?" in done.stderr


def test_what_is_not_loaded_is_stopped_already(serving, aiadmin_process):
    serving()
    done = aiadmin_process("stop", "echo")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "echo is not loaded.\n")


@pytest.fixture
def loaded():
    """A line of `/api/ps`."""
    return {
        "name": "smollm2:latest",
        "backend": "llamacpp",
        "pid": 7,
        "size": 98_000_000,
        "context_length": 8192,
        "n_active": 0,
        "state": "ready",
        "expires_at": "2026-01-01T00:05:00Z",
        "notes": ["safe mode: was killed by SIGSEGV"],
    }


def test_a_line_of_ps_says_until_when_and_why_it_is_in_safe_mode(loaded):
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert row(loaded, now)[-2:] == ("5 minutes from now", "safe mode: was killed by SIGSEGV")
    assert until({**loaded, "n_active": 1}, now) == "in use"
    assert until({**loaded, "state": "starting"}, now) == "starting"
    assert until({**loaded, "expires_at": "9999-12-31T23:59:59Z"}, now) == "for ever"


def test_a_port_that_another_program_has_ends_the_command_at_once(aiadmin_process):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = aiadmin_process("serve", "--port", str(listener.getsockname()[1]))

    assert done.returncode == 1
    assert "Another program, not AiAdmin" in done.stderr


@pytest.mark.parametrize("address", ["https://127.0.0.1:11500", "http://127.0.0.1:11500/ai"])
def test_an_address_that_only_clients_can_use_is_not_served_on(invoke, monkeypatch, address):
    """Nothing of it is dropped without a word."""
    monkeypatch.setenv("AIADMIN_HOST", address)

    result = invoke("serve")

    assert result.exit_code == 1
    assert address in result.stderr
    assert "--host" in result.stderr


def test_a_client_reaches_a_server_below_a_path(invoke, monkeypatch):
    asked = []
    monkeypatch.setattr(httpx.Client, "get", lambda self, path: asked.append(self._merge_url(path)))
    monkeypatch.setenv("AIADMIN_HOST", "https://127.0.0.1:1/ai")

    invoke("ps")

    assert str(asked[0]) == "https://127.0.0.1:1/ai/"


def test_an_address_given_to_serve_goes_before_the_environments():
    settings = Settings(scheme="https", base_path="/ai", host="example.org", port=443)
    assert with_options(settings, host="127.0.0.1", port=0, models=None).url == "http://127.0.0.1:0"


def test_the_log_is_json_lines_where_that_is_asked_for(serving):
    server = serving("--log-level", "info", AIADMIN_LOG_FORMAT="json")
    httpx.post(f"{server.url}/v1/chat/completions", json=CHAT)
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=20)

    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    (request,) = [line for line in lines if line["logger"] == "aiadmin.requests"]
    assert (request["model"], request["status"]) == ("echo:latest", 200)
    assert any(line.get("message", "").startswith("Loaded echo") for line in lines)


def test_an_address_that_is_none_of_this_machine_is_refused_by_both_its_names(aiadmin_process):
    done = aiadmin_process("serve", "--host", "nowhere.invalid", "--port", "0")

    assert done.returncode == 1
    assert "Cannot listen on nowhere.invalid" in done.stderr
    assert "Correct `--host` or AIADMIN_HOST." in done.stderr


def test_serve_takes_no_model_and_says_who_does(aiadmin_process):
    done = aiadmin_process("serve", "smollm2")

    assert done.returncode == 2
    assert "`serve` takes no model" in done.stderr
    assert "`aiadmin run smollm2`" in done.stderr
