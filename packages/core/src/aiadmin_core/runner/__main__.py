"""`python -m aiadmin_core.runner`: one loaded model, one process. Started by the server with a `Launch` as one line
of JSON on standard input, which stays open: its end, like that of the connection, says that the server is gone.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from importlib.util import find_spec

import msgspec

from .host import EXIT_GRACE_S, leave, run
from .memory_limit import go_first, limit
from .messages import Launch

SWITCH_INTERVAL_S = 0.001
"""How long the event loop may keep the engine thread from going on after a decode (Python's own: 0.005).
Beside a busy thread on two busy cores, a thread that wakes up waits 5 ms for its turn instead of 10."""


def main() -> None:
    """Serve one model until the server leaves."""
    _prepare_process()
    launch = msgspec.json.decode(_read_line(), type=Launch)
    limit(launch.memory_bytes)
    threading.Thread(target=_leave_with_server, name="leave-with-server", daemon=True).start()
    if find_spec("uvloop"):  # the server brings it, where there is any: waking up costs less
        import uvloop

        uvloop.run(run(launch))
    else:
        asyncio.run(run(launch))


def _prepare_process() -> None:
    faulthandler.enable()  # a native crash leaves the Python stack of each thread in the log
    os.dup2(2, 1)  # native libraries print where they like: all of it is log
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and service managers mean the whole process group, and
        signal.signal(number, signal.SIG_IGN)  # only the server knows when the last answer is given: it ends us
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    go_first()
    if sys.platform == "win32":
        import msvcrt  # exists there only

        msvcrt.SetErrorMode(msvcrt.SEM_FAILCRITICALERRORS | msvcrt.SEM_NOGPFAULTERRORBOX)  # type: ignore[attr-defined,unused-ignore] # typeshed knows it on Windows only: a crash must not wait for a dialog box


def _read_line() -> bytes:
    """The first line of standard input. Unbuffered: a thread that waits in the buffered reader cannot be left."""
    line = bytearray()
    while not line.endswith(b"\n") and (data := os.read(0, 65536)):
        line += data
    return bytes(line)


def _leave_with_server() -> None:
    """The event loop sees the connection end; this sees it for a loop that an engine keeps busy."""
    try:
        while os.read(0, 65536):
            pass
        time.sleep(2 * EXIT_GRACE_S)
    finally:
        leave(1)


if __name__ == "__main__":
    main()
