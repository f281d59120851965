"""What keeps one model from taking the memory of all."""

import subprocess
import sys

import pytest

from aiadmin_core.runner.memory_limit import SCORE, go_first

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of this kind are Linux's")


def test_a_process_with_a_limit_is_refused_more_and_lives_on():
    program = """if True:
        from aiadmin_core.runner.memory_limit import limit
        limit(200 << 20)
        kept = bytearray(50 << 20)
        try:
            bytearray(400 << 20)
        except MemoryError:
            print("refused", len(kept) >> 20)
    """
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("refused 50", 0), ran.stderr


def test_a_process_with_a_limit_counts_on_no_more():
    program = """if True:
        from aiadmin_core.memory import machine_memory, process_memory
        from aiadmin_core.runner.memory_limit import limit
        assert process_memory() is None
        limit(400 << 20)
        before = machine_memory()
        kept = bytearray(100 << 20)
        after = machine_memory()
        print(before.total >> 20, before.available - after.available >> 20)
    """
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("400 100", 0), ran.stderr


def test_a_runner_goes_before_its_server_and_no_later_than_it_would_have(tmp_path):
    adjustment = tmp_path / "oom_score_adj"
    for before, after in [("0", SCORE), ("-200", SCORE), ("900", 900)]:
        adjustment.write_text(f"{before}\n")
        go_first(adjustment)
        assert int(adjustment.read_text()) == after
    go_first(tmp_path / "missing")
