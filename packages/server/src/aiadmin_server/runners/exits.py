"""What the end of a runner's process means, and what to do next. Pure; `process` and `supervisor` act on it."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CRASH_SIGNALS = frozenset({"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"})
"""What native code that goes wrong ends in. SIGKILL is not among them: the system sends it when memory is short."""
WINDOWS_ABORT = 3
"""What `abort` of the C runtime exits with, where it does not fail fast."""
WINDOWS_STATUS = {
    0xC0000005: "an access violation",
    0xC000001D: "an illegal instruction",
    0xC0000094: "a division by zero",
    0xC00000FD: "a stack overflow",
    0xC0000374: "a corrupt heap",
    0xC0000409: "an abort",
}
NO_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "annot allocate memory",
    "failed to allocate",
    "insufficient memory",
    "emory allocation",
    "ut of memory",
)
"""What libraries write whose allocations fail, before they end the process with a signal like any crash's."""
CRASH_REPORT = "Fatal Python error"
"""How Python's own report of a native crash begins; the stacks of all threads follow."""
LAST_WORDS = 6
"""Lines of the log that an error quotes."""

LESS_MEMORY = "choose a smaller model, or a smaller AIADMIN_CONTEXT_LENGTH"
SEND_AGAIN = "Send the request again: the model is loaded afresh."


@dataclass(frozen=True)
class Next:
    """What to do after an exit."""

    action: Literal["start in safe mode", "fail", "start on demand"]
    hint: str = ""
    """For whoever waits for the model."""


def how_it_ended(status: int, *, windows: bool = sys.platform == "win32") -> str:
    """How a process with this exit status ended: "was killed by SIGSEGV", "ended with exit status 3"."""
    if status < 0:
        return f"was killed by {_signal_name(-status)}"
    if windows and is_crash(status, windows=True):
        return f"crashed with {WINDOWS_STATUS.get(status, 'an abort')} (0x{status:08X})"
    return f"ended with exit status {status}"


def is_crash(status: int, *, windows: bool = sys.platform == "win32") -> bool:
    """Whether native code went wrong, rather than somebody ending the process."""
    if windows:
        return status == WINDOWS_ABORT or status in WINDOWS_STATUS
    return status < 0 and _signal_name(-status) in CRASH_SIGNALS


def after_exit(
    status: int,
    *,
    loading: bool,
    safe_mode: bool,
    said_no_memory: bool = False,
    windows: bool = sys.platform == "win32",
) -> Next:
    """What to do when a runner's process has ended that nobody asked to end."""
    crashed = is_crash(status, windows=windows)
    killed = status < 0 and _signal_name(-status) == "SIGKILL"
    if loading and crashed and not safe_mode and not said_no_memory:
        return Next("start in safe mode")
    if said_no_memory:
        hint = f"Memory ran out: {LESS_MEMORY}, or a higher AIADMIN_RUNNER_MEMORY where that is set."
    elif killed:
        hint = f"If nobody ended it, memory ran out: {LESS_MEMORY}."
    elif not loading:
        hint = SEND_AGAIN
    elif crashed:
        hint = "It crashes in safe mode too: `aiadmin doctor --verify` checks the backend, and the model's files."
    else:
        hint = "`aiadmin doctor` checks the backend."
    return Next("fail" if loading else "start on demand", hint)


def says_no_memory(lines: Sequence[str]) -> bool:
    """Whether a log ends with an allocation that failed, before Python's report of the crash where there is one."""
    end = next((index for index, line in enumerate(lines) if line.startswith(CRASH_REPORT)), len(lines))
    return any(words in line for line in lines[max(0, end - LAST_WORDS) : end] for words in NO_MEMORY)


def last_words(lines: Sequence[str], *, n: int = LAST_WORDS) -> list[str]:
    """The lines of a log that tell most about its end: the last ones, or, where Python reported a native crash, those
    before the report and the top of the stack that crashed."""
    told = [line.strip() for line in lines if line.strip()]
    report = next((index for index, line in enumerate(told) if line.startswith(CRASH_REPORT)), None)
    if report is None:
        return told[-n:]
    stack = next((index for index in range(report, len(told)) if told[index].startswith("Current thread")), None)
    top = [] if stack is None else told[stack + 1 : stack + 3]
    return [*told[max(0, report + 1 - (n - len(top))) : report + 1], *top]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
