"""What keeps one model from taking the memory of all: set by a runner on itself, before it imports anything large.

Asked for more than its limit, an allocator fails: the load, or the request, ends with a word on memory instead of the
machine in swapping. Pages of files (weights that are mapped) are the system's to take back, and do not count.
"""

import contextlib
import sys
from pathlib import Path

SCORE = 500
"""How much sooner than others the system ends a runner where memory is out: half of its scale. It ends what would
cost a model's requests, not the server, and not the editor beside it."""


def go_first(adjustment: Path = Path("/proc/self/oom_score_adj")) -> None:
    """Have the system end this process before others. https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html"""
    with contextlib.suppress(OSError, ValueError):  # elsewhere than on Linux; or more was asked for already
        if int(adjustment.read_text()) < SCORE:
            adjustment.write_text(str(SCORE))


def limit(n_bytes: int) -> None:
    """Bound what this process allocates; 0 does not, and nothing does elsewhere than on Linux.

    `RLIMIT_DATA` counts the heap and, since Linux 4.7, private writable mappings.
    """
    if not n_bytes or not sys.platform.startswith("linux"):
        return
    import resource  # exists on Unix only

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    n_bytes = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, hard))
