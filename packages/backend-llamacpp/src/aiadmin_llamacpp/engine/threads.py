"""How many threads llama.cpp computes with.

OpenMP's threads spin while they wait for each other. That is fast on an idle machine and collapses when anything else
computes: beside one busy process, a step of 7 ms on two cores takes 15 with two threads, now and then 700, and 8 with
one. What a thread more brings depends on the step, too: one token is as fast on one thread as on two, eight take half
as long again. So no more threads are used than others leave processors (`neighbours`), and of those the engine learns
how long steps take by their size and the count of threads, and how much slower they are at present than they can be,
and takes what should be fastest.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")

HALVED = 1.7
"""How many times as long a step is expected to take with half the threads, until it has been tried."""

WORTH_CHANGING = 1.05
"""How much faster another count has to promise to be: threads that start and end cost some of a step."""

NEWS = 0.3
"""Share of the last step in what is known of the present."""

FORGET = 1.001
"""How much the best time of a size grows with each step of it: machines change."""

FIRST_TRIAL = 8
"""After so many steps fewer threads are tried without a reason: the machine may have been busy all along."""

N_TRIAL = 3
"""Steps of that trial."""

MOST_TRIED = 16
"""Rows of a step of it: one that reads a prompt is too dear."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""Until more threads are tried again where fewer are faster; doubles each time they still are not."""

N_BACK = 8
"""Steps with more threads again, after which others are taken to be gone."""


def apart(work: Callable[[], Result]) -> Result:
    """What `work` gives, on a thread that has ended when this returns. For whatever computes outside the engine's own
    thread: OpenMP keeps a team for every thread that has computed, and while all of these together are more threads
    than processors, none of them spins any more (libgomp's `gomp_managed_threads`): a step of 28 ms takes 38."""
    with ThreadPoolExecutor(1, thread_name_prefix="llama-apart") as executor:
        return executor.submit(work).result()


def usable_cores() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(n_cores: int) -> int:
    """All of a few, half of many: those are mostly hardware threads or efficiency cores, which only slow the others
    down. (llama.cpp guesses the same way where it cannot ask.)"""
    return n_cores if n_cores <= 4 else n_cores // 2


def chosen_threads(asked: int | None) -> int:
    """As asked, but no more than there are processors: further ones only wait, and thousands cannot be had."""
    n_cores = usable_cores()
    return min(asked, n_cores) if asked else default_threads(n_cores)


class StepSize(NamedTuple):
    """Steps of one size take about as long as each other."""

    n_rows: int
    """Up to 16 as they are, then by the next power of two."""
    depth: int
    """Bits of the number of cells that each row looks at, on average; 8 for all below 256."""


def size_of(n_rows: int, n_cells: int) -> StepSize:
    """The size of a step of `n_rows` tokens, which look at `n_cells` together."""
    rows = n_rows if n_rows <= 16 else 1 << (n_rows - 1).bit_length()
    return StepSize(rows, max(8, (n_cells // max(1, n_rows)).bit_length()))


class StepTimes:
    """What is known of one count of threads."""

    def __init__(self) -> None:
        self.best: dict[StepSize, float] = {}
        """Seconds of a step, where nobody disturbs."""
        self.slowdown = 1.0
        """How many times as long steps take at present; 1 where nothing is known of the present."""

    def observe(self, size: StepSize, seconds: float) -> None:
        best = self.best.get(size)
        self.best[size] = seconds if best is None else min(seconds, best * FORGET)
        if best is not None:
            self.slowdown += NEWS * (seconds / best - self.slowdown)


class ThreadGovernor:
    """Decides the thread count of each step from the duration of those before. Pure: time comes in with them.

    A step is expected to take its best time, times what steps with as many threads take longer at present. Fewer
    threads than there may be are a guess about neighbours: every now and then, more are tried.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        """Of the last step."""
        self._own = self._most = n_threads
        self._times: dict[int, StepTimes] = {}
        self._n_steps = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_trial_at = 0.0
        self._n_back = 0

    def limit(self, n_threads: int) -> None:
        """Use no more than `n_threads` from the next step on. Any thread."""
        self._most = max(1, min(self._own, n_threads))

    def choose(self, size: StepSize, *, now: float) -> int:
        """The thread count for a step of that size."""
        counts = list(_halves(self._most))
        in_trial = FIRST_TRIAL <= self._n_steps < FIRST_TRIAL + N_TRIAL
        if len(counts) > 1 and in_trial and size.n_rows <= MOST_TRIED:
            self.n_threads = counts[1]
            return self.n_threads
        expected = {count: self._expected(count, size) for count in counts}
        best = min(counts, key=expected.__getitem__)
        if self.n_threads in expected and expected[self.n_threads] < expected[best] * WORTH_CHANGING:
            best = self.n_threads
        if best < self._most:
            best = self._perhaps_more(best, now)
        self.n_threads = best
        return best

    def observe(self, size: StepSize, seconds: float) -> None:
        """The step that `choose` was asked about took `seconds`."""
        self._n_steps += 1
        self._of(self.n_threads).observe(size, seconds)
        self._n_back = self._n_back + 1 if self.n_threads == self._most else 0
        if self._n_back == N_BACK:
            self._pause_s = FIRST_PAUSE_S

    def _expected(self, count: int, size: StepSize) -> float:
        """Seconds; those of the size's best with all threads are 1 as long as it is not known."""
        times = self._of(count)
        best = times.best.get(size)
        if best is None:
            most = self._of(self._most).best.get(size, 1.0)
            best = most * HALVED ** ((self._most // count).bit_length() - 1)
        return best * times.slowdown

    def _perhaps_more(self, count: int, now: float) -> int:
        """Twice as many now and then, as if nobody were there; else `count`."""
        if now < self._next_trial_at:
            return count
        more = min(self._most, count * 2)
        self._of(more).slowdown = 1.0
        self._next_trial_at = now + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        return more

    def _of(self, count: int) -> StepTimes:
        return self._times.setdefault(count, StepTimes())


class Crew:
    """The threads of an engine, shared out among its contexts while several of them have something to decode."""

    def __init__(self, n_threads: int, n_left: Callable[[float], int]) -> None:
        """`n_left` tells how many processors others leave, see `neighbours`."""
        self._n_threads = n_threads
        self._n_left = n_left
        self._members: list[Callable[[], bool]] = []

    def join(self, has_work: Callable[[], bool]) -> None:
        """Another context, which says whether it has something to decode."""
        self._members.append(has_work)

    def limit(self, n_threads: int) -> None:
        """So many threads for all of them together. Any thread."""
        self._n_threads = n_threads

    def share(self, now: float) -> int:
        """Threads of one that is about to decode."""
        n_threads = min(self._n_threads, self._n_left(now))
        return max(1, n_threads // max(1, sum(has_work() for has_work in self._members)))


def _halves(n: int) -> Iterator[int]:
    """n, n // 2, ... 1."""
    while n:
        yield n
        n //= 2
