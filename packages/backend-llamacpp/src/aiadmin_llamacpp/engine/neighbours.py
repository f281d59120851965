"""How many processors are left beside what other processes compute at present.

A thread of OpenMP that has to share its processor holds up all others at every operation of a step, a hundred times
over. `threads` finds that out from the steps' duration, but each of those it needs may take seconds by then; the
operating system knows before the first one.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

WINDOW_S = 0.25
"""What others do is counted over so long at least: the system counts in hundredths of a second."""

BUSY = 0.9
"""Share of a processor's time from which on it is not ours: clients and the server come and go within less."""

RESTED_S = 0.5
"""What was computed in a longer time, while we rested, need not go on: who does not run now is gone."""

MOST_LOOKS, LOOK_EVERY_S = 16, 0.001
"""Clients and the server run for less than that together, whenever there is something to do for us; so does whoever was
busy until a moment before."""


class Reading(NamedTuple):
    """Seconds that add up since some time in the past."""

    wall: float
    computed: float
    """By every process, on the processors that this one may use."""
    own: float
    """By this process."""


def read_times() -> Reading:
    """As they stand. Takes 0.1 ms."""
    each = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        usable = os.sched_getaffinity(0)
        each = [times for number, times in enumerate(each) if number in usable]
    kinds = ("user", "nice", "system", "irq", "softirq")
    computed = sum(float(getattr(times, kind, 0.0)) for times in each for kind in kinds)
    return Reading(wall=time.monotonic(), computed=computed, own=time.process_time())


def count_running() -> int | None:
    """Threads that run or wait for a processor at this moment, this one among them; None where nobody says."""
    try:
        lines = Path("/proc/stat").read_bytes().splitlines()  # proc_stat(5)
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(b"procs_running")), None)


def left_of(n_cores: int, before: Reading, after: Reading) -> int:
    """Processors that others leave, one at least. Pure."""
    others = (after.computed - before.computed) - (after.own - before.own)
    return max(1, n_cores - max(0, math.floor(others / (after.wall - before.wall) + 1 - BUSY)))


class Neighbours:
    """Looks again from time to time, when it is asked."""

    def __init__(
        self,
        n_cores: int,
        read: Callable[[], Reading] = read_times,
        running: Callable[[], int | None] = count_running,
    ) -> None:
        self._n_cores = self._left = n_cores
        self._read = read
        self._running = running
        self._before = read()

    def n_left(self, now: float) -> int:
        """Processors that others left lately; `now` is `time.monotonic()`."""
        if now - self._before.wall >= WINDOW_S:
            after = self._read()
            if after.wall > self._before.wall:
                self._left = left_of(self._n_cores, self._before, after)
                if self._left < self._n_cores and after.wall - self._before.wall > RESTED_S:
                    self._left = max(self._left, self._n_cores - self._n_still_running())
                self._before = after
        return self._left

    def _n_still_running(self) -> int:
        """Other threads that were running at every look."""
        fewest = self._n_cores
        for _ in range(MOST_LOOKS):
            n_running = self._running()
            if n_running is not None:
                fewest = min(fewest, n_running - 1)
            if fewest <= 0:
                break
            time.sleep(LOOK_EVERY_S)
        return fewest
