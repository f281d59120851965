"""Who computes, and on how many of the machine's cores. One per server; told by each runner's engine.

Threads of two runners that share a core wait for each other at every step: two models generating at once with two
threads each on two cores reach a third of what they reach with one each. So each gets its share while several work,
and all of them when the others rest.
"""

import os
from collections.abc import Callable, Hashable

FEW = 4
"""Cores up to which all of them are taken to be whole."""

Tell = Callable[[int], None]
"""Takes the number of cores that one may compute on from now on."""


def usable_cores() -> int:
    """Processors this process, and what it starts, may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares(n_cores: int, n_working: int) -> list[int]:
    """Cores of each of `n_working`, at least one; those who came first get what is over. Pure.

    One alone has all, and knows best how many of them help it. Where there are many, half of them are mostly hardware
    threads, which help nobody who shares.
    """
    if n_working == 1:
        return [n_cores]
    each, over = divmod(n_cores if n_cores <= FEW else n_cores // 2, n_working)
    return [max(1, each + (place < over)) for place in range(n_working)]


class Cores:
    """Used from one event loop."""

    def __init__(self, n_cores: int | None = None) -> None:
        self._n_cores = usable_cores() if n_cores is None else n_cores
        self._working: dict[Hashable, Tell] = {}
        self._told: dict[Hashable, int] = {}
        """What each that works was told last. Who begins is told if it is not what it had."""

    def begin(self, who: Hashable, tell: Tell) -> None:
        """`who` has something to compute."""
        self._working[who] = tell
        self._share()

    def end(self, who: Hashable) -> None:
        """`who` rests, for now or for ever."""
        if self._working.pop(who, None) is not None:
            self._share()

    def forget(self, who: Hashable) -> None:
        """`who` is gone."""
        self._told.pop(who, None)
        self.end(who)

    def _share(self) -> None:
        if not self._working:
            return
        for (who, tell), n in zip(self._working.items(), shares(self._n_cores, len(self._working)), strict=True):
            if self._told.get(who, self._n_cores) != n:
                self._told[who] = n
                tell(n)
