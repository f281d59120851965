"""How many guessed tokens a step is lengthened by: as many as are worth their time. Pure."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence

MOST_DRAFTED = 32
"""Guessed tokens in a step."""

LEAST_GAIN = 1.1
"""What drafting has to promise, as a factor of tokens a second. Estimates err, and rejected tokens leave holes."""

MOST_SAVED = 16.0
"""Steps whose time may have been lost to wrong guesses since the last ones that came true, at most."""
SHARE_SAVED = 0.01
"""What may be lost of the time of steps without guesses."""

_AT_FIRST = 0.5
"""What a row more costs, as a share of a step of one, before it was tried."""
_FASTER, _SLOWER = 0.5, 0.1
"""How far a measurement moves the time of its number of rows. What else the machine does makes steps slower, never
faster: so the latter says more."""
_SHARED = 0.5
"""How much of that moves the times of all others too: machines get busy, and contexts fill. Less than all of it, or two
numbers of rows could pull each other along for ever."""
_FORGET = 0.9999
"""What is left, with each step of fewer rows, of the time that more take: a step that something else held up is
forgotten, and more rows are tried again."""


class RowTimes:
    """How long steps of so many rows take here, measured."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._seconds: dict[int, float] = {}

    def observe(self, n_rows: int, seconds: float) -> None:
        """A step of `n_rows` took `seconds`."""
        known = self._seconds.get(n_rows)
        if known is None:
            insort(self._rows, n_rows)
            self._seconds[n_rows] = seconds
            return
        # One step that the machine was busy with something else in says nothing about the next.
        change = min(max(seconds / known, 0.5), 2.0) - 1
        moved = 1 + change * (_FASTER if change < 0 else _SLOWER)
        for other in self._seconds:
            self._seconds[other] *= moved**_SHARED * (_FORGET if other > n_rows else 1)
        self._seconds[n_rows] = known * moved

    def of(self, n_rows: int) -> float:
        """Seconds that a step of `n_rows` should take, from the nearest numbers measured; 0 where none was."""
        if not self._rows:
            return 0.0
        place = bisect_left(self._rows, n_rows)
        if place == len(self._rows):
            last = self._rows[-1]
            return self._seconds[last] + (n_rows - last) * self._cost_beyond()
        above = self._rows[place]
        if place == 0 or above == n_rows:
            return self._seconds[above]
        below = self._rows[place - 1]
        share = (n_rows - below) / (above - below)
        return self._seconds[below] * (1 - share) + self._seconds[above] * share

    def _cost_beyond(self) -> float:
        """Of a row more than were ever measured."""
        first, last = self._rows[0], self._rows[-1]
        if first == last:
            return _AT_FIRST * self._seconds[first] / first
        return max(0.0, self._seconds[last] - self._seconds[first]) / (last - first)


class Savings:
    """What may be lost to wrong guesses, in steps: what right ones have saved, and a small share of all steps. So where
    nothing repeats, guessing costs no more than that share, whatever the estimates say."""

    def __init__(self) -> None:
        self.n_steps = MOST_SAVED

    def observe(self, n_accepted: int, *, n_tokens: int, seconds: float, plain: float) -> None:
        """A step gave `n_tokens` and `n_accepted` guessed ones in `seconds`; without them it takes `plain`."""
        lost = (seconds - plain) / plain
        self.n_steps = min(MOST_SAVED, self.n_steps + SHARE_SAVED + n_accepted / n_tokens - lost)


def share_rows(
    chances: Sequence[Iterable[float]],
    *,
    n_tokens: int,
    most: int,
    seconds: Callable[[int], float],
    savings: float = MOST_SAVED,
) -> list[int]:
    """How many guessed tokens each sequence gets, such that the step gives the most tokens a second.

    `chances` are each sequence's, falling, of its first token, of its first two, and so on; `n_tokens` is what the step
    gives anyway; `most` how many may be added, and `seconds` what a step takes with so many more of them. No more than
    `savings`, in such steps without guesses, is put at risk.
    """
    order = sorted(
        (
            (chance, sequence)
            for sequence, own in enumerate(chances)
            for _, chance in zip(range(most), own, strict=False)
        ),
        key=lambda found: -found[0],
    )[: max(0, most)]
    shares = [0] * len(chances)
    plain = seconds(0)
    if plain <= 0:
        return shares
    expected, best, n_best = float(n_tokens), LEAST_GAIN * n_tokens / plain, 0
    for n, (chance, _) in enumerate(order, start=1):
        expected += chance
        if expected / seconds(n) > best and seconds(n) - plain <= savings * plain:
            best, n_best = expected / seconds(n), n
    for _, sequence in order[:n_best]:
        shares[sequence] += 1
    return shares
