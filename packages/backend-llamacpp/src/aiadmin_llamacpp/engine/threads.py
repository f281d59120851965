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
"""A step this much slower than the best of its size is a reason to try fewer threads."""

HOPELESS = 3.0
"""A trial with a step this much slower than what it is compared with ends at once."""

FIRST_TRIAL = 48
"""After so many steps fewer threads are tried without a reason: the machine may have been busy all along."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""Between two trials; doubles each time a trial brings nothing."""

FORGET = 1.001
"""How much the best time of a step size grows with each step of it: contexts fill, and machines change."""


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


class StepTimes:
    """The best time of a step by its size, and so what any step's time means, whatever its size."""

    def __init__(self) -> None:
        self._best: dict[int, float] = {}

    def slowdown(self, n_tokens: int, seconds: float, *, learn: bool) -> float | None:
        """How many times as long as the best step of that size it took; None for the first of its size. Below 1 for
        a new best one, which counts from now on, if it is to `learn`."""
        best = self._best.get(n_tokens)
        if best is None or learn:
            self._best[n_tokens] = seconds if best is None else min(seconds, best * FORGET)
        return None if best is None else seconds / best

    def clear(self) -> None:
        self._best.clear()


class ThreadGovernor:
    """Decides the thread count from the duration of decode steps. Pure: time comes in with the measurements.

    Steps of any size count, each against the best of its own. While steps take as long as they used to, it does
    nothing. When they get slower it tries half the threads; when it runs on fewer than it may, it tries twice as many
    now and then. A trial is `N_SAMPLE` steps; its count stays if it was faster.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        """To use in the next step."""
        self._most = n_threads
        self._times = StepTimes()
        self._recent: list[float] = []
        self._n_steps = 0
        self._before: tuple[int, float] | None = None  # count and slowdown to compare a trial with
        self._quiet_until = 0.0
        self._pause_s = FIRST_PAUSE_S

    def observe(self, *, n_tokens: int, seconds: float, now: float) -> int:
        """A step that only decoded took `seconds`. Gives the count for the next step."""
        self._n_steps += 1
        slowdown = self._times.slowdown(n_tokens, seconds, learn=self._before is None)
        if slowdown is not None:
            self._recent.append(slowdown)
            if self._before is not None:
                self._judge(now)
            elif len(self._recent) >= N_SAMPLE:
                self._consider(now)
        return self.n_threads

    def _consider(self, now: float) -> None:
        current = median(self._recent)
        self._recent.clear()
        first = FIRST_TRIAL <= self._n_steps < FIRST_TRIAL + N_SAMPLE
        if now < self._quiet_until and not first:
            return
        if self.n_threads > 1 and (first or current > SLOWER):
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
            self._times.clear()  # what is best depends on the count, and on the neighbours
        else:
            self.n_threads = count
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        self._before = None
        self._recent.clear()
        self._quiet_until = now + self._pause_s
