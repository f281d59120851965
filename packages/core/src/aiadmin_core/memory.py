"""How much memory there is, and what a container's limit leaves of it. Asked by the server and by backends."""

from pathlib import Path
from typing import NamedTuple

GROUP = Path("/sys/fs/cgroup")


class Memory(NamedTuple):
    """Of a machine or a container, in bytes."""

    total: int
    available: int
    """Without having to swap: pages of files that are cached count."""


def machine_memory() -> Memory | None:
    """As it stands: the machine's, or what a container's limit leaves of it. None where the system cannot be asked (at
    the limit of open files, for one)."""
    import psutil

    try:
        machine = psutil.virtual_memory()
    except (psutil.Error, OSError):
        return None
    container = container_memory()
    if container is None:
        return Memory(total=machine.total, available=machine.available)
    return Memory(total=min(machine.total, container.total), available=min(machine.available, container.available))


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
