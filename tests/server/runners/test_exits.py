"""What an exit means and what comes next, as tables."""

import pytest

from aiadmin_server.runners.exits import after_exit, how_it_ended, last_words, says_no_memory

SEGV, ABRT, KILL, TERM = -11, -6, -9, -15
ACCESS_VIOLATION = 0xC0000005


@pytest.mark.parametrize(
    ("status", "windows", "text"),
    [
        (SEGV, False, "was killed by SIGSEGV"),
        (KILL, False, "was killed by SIGKILL"),
        (-200, False, "was killed by signal 200"),
        (3, False, "ended with exit status 3"),
        (0, False, "ended with exit status 0"),
        (ACCESS_VIOLATION, True, "crashed with an access violation (0xC0000005)"),
        (3, True, "crashed with an abort (0x00000003)"),
        (1, True, "ended with exit status 1"),
    ],
)
def test_an_exit_is_described(status, windows, text):
    assert how_it_ended(status, windows=windows) == text


@pytest.mark.parametrize(
    ("status", "loading", "safe_mode", "windows", "action", "hint"),
    [
        (SEGV, True, False, False, "start in safe mode", ""),
        (ABRT, True, False, False, "start in safe mode", ""),
        (ACCESS_VIOLATION, True, False, True, "start in safe mode", ""),
        (3, True, False, True, "start in safe mode", ""),
        (3, True, False, False, "fail", "aiadmin doctor"),
        (SEGV, True, True, False, "fail", "safe mode too"),
        (KILL, True, False, False, "fail", "memory ran out"),
        (TERM, True, False, False, "fail", "aiadmin doctor"),
        (0, True, False, False, "fail", "aiadmin doctor"),
        (SEGV, False, False, False, "start on demand", "loaded afresh"),
        (SEGV, False, True, False, "start on demand", "loaded afresh"),
        (KILL, False, False, False, "start on demand", "memory ran out"),
        (1, False, False, True, "start on demand", "loaded afresh"),
    ],
)
def test_what_comes_next(status, loading, safe_mode, windows, action, hint):
    decision = after_exit(status, loading=loading, safe_mode=safe_mode, windows=windows)
    assert decision.action == action
    assert hint in decision.hint


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2.0 GiB",
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "ggml_aligned_malloc: insufficient memory (attempted to allocate  41.96 MB)",
        "CUDA error: out of memory",
    ],
)
def test_a_crash_for_want_of_memory_is_not_one_that_safe_mode_would_help(line):
    assert says_no_memory(["loading", line, "Fatal Python error: Aborted"])
    decision = after_exit(ABRT, loading=True, safe_mode=False, said_no_memory=True)
    assert (decision.action, "Memory ran out" in decision.hint) == ("fail", True)
    assert "Memory ran out" in after_exit(ABRT, loading=False, safe_mode=False, said_no_memory=True).hint
    assert not says_no_memory(["memory: 3 GB free", "Fatal Python error: Segmentation fault"])


def test_last_words_are_the_last_lines():
    assert last_words([str(number) for number in range(20)], n=3) == ["17", "18", "19"]
    assert last_words(["", " "]) == []


def test_last_words_before_a_crash_are_what_led_to_it():
    log = [*(f"loading layer {number}" for number in range(9)), "Fatal Python error: Segmentation fault", ""]
    log += ["Thread 0x1 (most recent call first):", '  File "selectors.py", line 1 in select', ""]
    log += ["Current thread 0x2 (most recent call first):", '  File "ctypes.py", line 5 in string_at']
    log += ['  File "engine.py", line 2 in decode', '  File "threading.py", line 3 in run']
    assert last_words(log, n=5) == [
        "loading layer 7",
        "loading layer 8",
        "Fatal Python error: Segmentation fault",
        'File "ctypes.py", line 5 in string_at',
        'File "engine.py", line 2 in decode',
    ]
