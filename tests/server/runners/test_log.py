"""What is kept of a runner's output."""

import pytest

from aiadmin_server.runners import log
from aiadmin_server.runners.log import RunnerLog


def test_lines_are_put_together_from_pieces(tmp_path):
    kept = RunnerLog(tmp_path / "logs" / "runner.log")
    for piece in (b"one\ntw", b"o\r\nthr", b"\xff"):
        kept.write(piece)
    assert kept.lines == ["one", "two", "thr\ufffd"]
    assert (tmp_path / "logs" / "runner.log").read_bytes() == b"one\ntwo\r\nthr\xff"


def test_only_the_last_lines_stay_in_memory_and_none_is_endless():
    kept = RunnerLog(None)
    kept.write(b"".join(b"%d\n" % number for number in range(10 * log.TAIL_LINES)))
    assert len(kept.lines) == log.TAIL_LINES
    kept.write(b"x" * 1_000_000)
    assert len(kept.lines[-1]) == log.LINE_CHARS


def test_a_full_file_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "FILE_BYTES", 10)
    kept = RunnerLog(tmp_path / "runner.log")
    for piece in (b"first\n", b"second\n", b"third\n"):
        kept.write(piece)
    assert (tmp_path / "runner.log").read_bytes() == b"third\n"
    assert (tmp_path / "runner.log.1").read_bytes() == b"second\n"


@pytest.mark.parametrize("name", ["logs/runner.log", "runner\0.log", "\ud800.log"])
def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path, name):
    (tmp_path / "logs").write_text("a file where the folder should be")
    kept = RunnerLog(tmp_path / name)
    kept.write(b"one\n")
    kept.write(b"two\n")
    assert kept.lines == ["one", "two"]
