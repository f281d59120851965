"""How many threads llama.cpp computes with, and how they wait.

OpenMP's threads spin while they wait for each other. That is fast on an idle machine and collapses when anything else
computes: two threads on two cores beside another spinning process fall from 90 tokens/s to as little as 0.4, and one
thread keeps 50. No fixed count is right, so the engine measures its own steps and tries the neighbouring count when
there is reason to; what turns out faster stays.
"""

import os
from collections.abc import MutableMapping
from statistics import median

SPIN_COUNT = "1000"
"""Rounds a thread spins before it sleeps. Costs a few percent alone, and avoids the worst beside another process."""

N_SAMPLE = 6
"""Steps that make a measurement."""

SLOWER = 1.4
"""A step this much slower than the usual is a reason to try fewer threads."""

HOPELESS = 3.0
"""A trial with a step this much slower than what it is compared with ends at once."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""Between two trials; doubles each time a trial brings nothing."""


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Choose how OpenMP waits, unless the user did. Before the library loads: it reads this once."""
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def usable_cores() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(n_cores: int) -> int:
    """All of a few, half of many: those are mostly hardware threads or efficiency cores, which only slow the others
    down. (llama.cpp guesses the same way where it cannot ask.)"""
    return n_cores if n_cores <= 4 else n_cores // 2


class ThreadGovernor:
    """Decides the thread count from the duration of decode steps. Pure: time comes in with the measurements.

    It compares only steps of one batch size. While steps take as long as they used to, it does nothing. When they
    get slower it tries half the threads; when it runs on fewer than it may, it tries twice as many now and then. A
    trial is `N_SAMPLE` steps; its count stays if it was faster.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        """To use in the next step."""
        self._most = n_threads
        self._n_tokens = 0
        self._recent: list[float] = []
        self._usual = 0.0
        self._before: tuple[int, float] | None = None  # count and step time to compare a trial with
        self._quiet_until = 0.0
        self._pause_s = FIRST_PAUSE_S

    def observe(self, *, n_tokens: int, seconds: float, now: float) -> int:
        """A step that only decoded took `seconds`. Gives the count for the next step."""
        if n_tokens != self._n_tokens:
            self._start_over(n_tokens)
            return self.n_threads
        self._recent.append(seconds)
        if self._before is not None:
            self._judge(now)
        elif len(self._recent) >= N_SAMPLE:
            self._consider(now)
        return self.n_threads

    def _start_over(self, n_tokens: int) -> None:
        """Another batch size: nothing measured so far compares."""
        if self._before is not None:
            self.n_threads, self._before = self._before[0], None
        self._n_tokens = n_tokens
        self._recent.clear()
        self._usual = 0.0

    def _consider(self, now: float) -> None:
        current = median(self._recent)
        self._recent.clear()
        self._usual = min(self._usual or current, current)
        if now < self._quiet_until:
            return
        if self.n_threads > 1 and current > SLOWER * self._usual:
            self._try(max(1, self.n_threads // 2), current)
        elif self.n_threads < self._most:
            self._try(min(self._most, self.n_threads * 2), current)

    def _try(self, n_threads: int, current: float) -> None:
        self._before = (self.n_threads, current)
        self.n_threads = n_threads

    def _judge(self, now: float) -> None:
        assert self._before is not None
        count, reference = self._before
        # The first step after a change also starts or stops threads.
        hopeless = len(self._recent) > 1 and self._recent[-1] > HOPELESS * reference
        if len(self._recent) <= N_SAMPLE and not hopeless:
            return
        if not hopeless and median(self._recent[1:]) < reference:
            self._pause_s = FIRST_PAUSE_S
        else:
            self.n_threads = count
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        self._before = None
        self._recent.clear()
        self._usual = 0.0  # what is usual depends on the count, and on the neighbours
        self._quiet_until = now + self._pause_s
