"""`aiadmin logs`: the files, their ends, and what comes after."""

import os
import threading

import httpx
import pytest

from aiadmin_server.cli.logs import followed, last_lines, logs_of
from aiadmin_server.runners.supervisor import log_path


def test_the_last_lines_are_read_from_the_end_of_a_long_file(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"line %d \x1b[2J\n" % n for n in range(20_000)))
    assert last_lines(path, 2) == ["line 19998 [2J", "line 19999 [2J"]
    assert len(last_lines(path, 15_000)) == 15_000
    assert last_lines(path, 0) == []
    path.write_bytes(b"one\ntwo")
    assert last_lines(path, 5) == ["one", "two"]


def test_a_model_is_found_by_its_name_and_the_latest_written_comes_last(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for age, backend in enumerate(("mlx", "llamacpp")):
        path = log_path(tmp_path, backend, "org/m:latest")
        path.write_text("x")
        os.utime(path, (age, age))
    (folder / "server.log").touch()
    assert [path.name for path in logs_of(folder, "org/m")] == [
        "runner-mlx-org-m-latest.log",
        "runner-llamacpp-org-m-latest.log",
    ]
    assert [path.name for path in logs_of(folder, None)] == ["server.log"]
    assert logs_of(folder, "other") == []


def test_following_goes_on_in_the_file_that_takes_the_place_of_one_set_aside(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("before\n")
    lines = followed(path)
    found: list[str] = []
    seen = [threading.Event() for _ in range(2)]

    def read():
        for line, event in zip(lines, seen, strict=False):
            found.append(line)
            event.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = threading.Event()
    while not found and not deadline.wait(0.05):  # until it has gone to the end of the file
        with path.open("a") as file:
            file.write("first\n")
        seen[0].wait(1)
    path.rename(tmp_path / "a.log.1")
    path.write_text("second\n")
    while not seen[1].wait(1):
        pass
    assert found[0] == "first"
    assert found[1] in ("first", "second")


def test_a_server_leaves_its_log_and_says_where_there_is_none(serving, aiadmin_process, state):
    unwritten = aiadmin_process("logs").stderr
    assert "No server has written a log" in unwritten
    assert "`aiadmin serve` writes one." in unwritten
    server = serving()
    httpx.post(
        f"{server.url}/v1/chat/completions", json={"model": "echo", "messages": [{"role": "user", "content": "secret"}]}
    )
    server.terminate()
    server.wait(20)
    shown = aiadmin_process("logs").stdout
    assert "Loaded echo:latest" in shown
    assert 'endpoint="POST /v1/chat/completions"' in shown or "POST /v1/chat/completions" in shown
    assert "secret" not in shown
    assert aiadmin_process("logs", "--path").stdout == f"{state / 'logs' / 'server.log'}\n"
    assert aiadmin_process("logs", "nonesuch").returncode == 1


@pytest.mark.parametrize("level", ["warning", "error"])
def test_what_is_shown_is_as_little_as_it_was(serving, level):
    server = serving("--log-level", level)
    server.terminate()
    assert "INFO" not in server.communicate(timeout=20)[1]
