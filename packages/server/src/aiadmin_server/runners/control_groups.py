"""A group for each runner whose memory is bounded, where the server may make groups: as a service with `Delegate=`. The
kernel then holds the bound, whatever the process does; elsewhere, and first, the runner's own
(`aiadmin_core.runner.memory_limit`) ends an allocation with an error.

https://docs.kernel.org/admin-guide/cgroup-v2.html: a group that hands a controller down holds no processes itself, so
the server goes into a group below its own first.
"""

import contextlib
import logging
import os
from collections.abc import Collection
from functools import cache
from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
SERVER = "aiadmin-server"

logger = logging.getLogger(__name__)


class ControlGroup:
    """Of one runner."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, pid: int) -> None:
        """Raises `OSError`, for a process that has ended or is not ours to move."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Once its processes have ended."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class ControlGroups:
    """Those below a group of the server's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, name: str, memory_bytes: int) -> ControlGroup:
        """One whose processes may take `memory_bytes` together, cached pages of their files included, which are taken
        back first. Raises `OSError`."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (folder / "memory.max").write_text(str(memory_bytes))
        for file, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):  # not in every kernel
            with contextlib.suppress(OSError):
                (folder / file).write_text(value)
        return ControlGroup(folder)


def group_of(membership: str) -> str | None:
    """The group that /proc/self/cgroup names, of version 2; None where there is none. Pure."""
    lines = (line.split(":", 2) for line in membership.splitlines())
    return next((path for number, controllers, path in lines if number == "0" and not controllers), None)


def may_move(members: Collection[int], own: Collection[int]) -> bool:
    """Whether nobody is in the group but the server, and what it has started (`own`). Others are not moved. Pure."""
    return set(members) <= set(own)


def find(own: Collection[int], root: Path = ROOT, membership: Path = MEMBERSHIP) -> ControlGroups | None:
    """The server's own, from now on with the memory of those below it; None where it may not. `own`: the server's
    process and those it has started."""
    try:
        path = group_of(membership.read_text())
        if path is None or path == "/":  # the machine's own: nobody handed it to us
            return None
        folder = root / path.lstrip("/")
        controllers = (folder / "cgroup.controllers").read_text().split()
        members = [int(line) for line in (folder / "cgroup.procs").read_text().split()]
        if "memory" not in controllers or not os.access(folder, os.W_OK) or not may_move(members, own):
            return None
        server = folder / SERVER
        server.mkdir(exist_ok=True)
        for pid in members:
            (server / "cgroup.procs").write_text(str(pid))
        (folder / "cgroup.subtree_control").write_text("+memory")
    except (OSError, ValueError) as error:
        logger.debug("No control groups: %s", error)
        return None
    return ControlGroups(folder)


@cache
def control_groups() -> ControlGroups | None:
    """This server's, looked for once."""
    server = psutil.Process()
    return find({server.pid, *(child.pid for child in server.children(recursive=True))})


def bounded(pid: int, memory_bytes: int, groups: ControlGroups | None) -> ControlGroup | None:
    """Put a process that has just begun under its bound; None where there are no groups, or the kernel will not."""
    if groups is None:
        return None
    try:
        group = groups.make(f"aiadmin-runner-{pid}", memory_bytes)
        group.add(pid)
    except OSError as error:
        logger.warning("The memory of process %d is bounded by itself alone: %s", pid, error)
        return None
    return group
