"""llama.cpp's log: warnings and errors go to stderr, where crash reports find them; the last errors are kept for the
messages of exceptions."""

import ctypes
import sys
from collections import deque

from llama_cpp import llama_cpp as lib

WARNING, ERROR, CONTINUED = 3, 4, 5  # ggml_log_level in ggml.h; a continued line belongs to the one before
_errors: deque[str] = deque(maxlen=8)
_last_level = 0
_silenced = False


@lib.llama_log_callback  # type: ignore[untyped-decorator]  # llama_cpp carries no types for it
def _on_log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    global _last_level
    level = _last_level if level == CONTINUED else level
    _last_level = level
    if level < WARNING or _silenced:
        return
    line = text.decode("utf-8", "replace")
    if level == ERROR:
        _errors.append(line.strip())
    sys.stderr.write(line)
    sys.stderr.flush()


def install() -> None:
    """Send llama.cpp's log through this module. Also silences what the bindings print by default."""
    lib.llama_log_set(_on_log, ctypes.c_void_p(0))


def silence(wanted: bool) -> None:
    """Drop what is logged, until called with False: breaking off a step is nothing to tell anybody about."""
    global _silenced
    _silenced = wanted


def take_errors() -> str:
    """The errors logged since the last call, oldest first."""
    text = "; ".join(line for line in _errors if line)
    _errors.clear()
    return text
