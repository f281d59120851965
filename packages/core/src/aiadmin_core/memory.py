"""How much memory there is, and what limits leave of it. Asked by the server and by backends."""

import sys
from pathlib import Path
from typing import NamedTuple

GROUP = Path("/sys/fs/cgroup")


class Memory(NamedTuple):
    """Of a machine or a container, in bytes."""

    total: int
    available: int
    """Without having to swap: pages of files that are cached count."""


def machine_memory() -> Memory | None:
    """As it stands: the machine's, or what the limits of a container and of this process leave of it. None where the
    system cannot be asked (at the limit of open files, for one)."""
    import psutil

    try:
        machine = psutil.virtual_memory()
    except (psutil.Error, OSError):
        return None
    found = Memory(total=machine.total, available=machine.available)
    for limit in (container_memory(), process_memory()):
        if limit is not None:
            found = Memory(*map(min, found, limit))
    return found


def within(memory: Memory | None, budget_bytes: int) -> Memory | None:
    """What is left of `memory` by somebody's own bound; 0 sets none. Pure."""
    if not budget_bytes:
        return memory
    if memory is None:
        return Memory(total=budget_bytes, available=budget_bytes)
    return Memory(total=min(memory.total, budget_bytes), available=min(memory.available, budget_bytes))


def container_memory(group: Path = GROUP) -> Memory | None:
    """Of this control group (version 2); None without one, and without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
    """
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        pages = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        available = limit - used + int(pages["inactive_file"]) + int(pages["active_file"])
    except (OSError, ValueError, KeyError):
        return None  # no such group, or "max": no limit
    return Memory(limit, max(0, min(limit, available)))


def process_memory(status: Path = Path("/proc/self/status")) -> Memory | None:
    """What this process may allocate (`RLIMIT_DATA`, on Linux); None without a limit. Mapped files do not count."""
    if not sys.platform.startswith("linux"):
        return None
    import resource  # exists on Unix only

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        sizes = dict(line.split(":", 1) for line in status.read_text().splitlines())
        used = int(sizes["VmData"].split()[0]) << 10  # kB, as proc_pid_status(5) has it
    except (OSError, ValueError, KeyError):
        return None
    return Memory(limit, max(0, limit - used))
