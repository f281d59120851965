"""How many guessed tokens a step is lengthened by: as many as are worth their time. Pure."""

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
_GUESSED = (2, 16)
"""Numbers of rows that this is assumed for, and how much these assumptions weigh against measurements."""
_WEIGHT = 0.2
_FASTER, _SLOWER = 0.5, 0.1
"""How far a measurement moves the time of a step of one row. What else the machine does makes steps slower, never
faster: so the latter says more."""
_FADE = 0.97
"""What a measurement of more rows leaves of the weight of those before it."""
_FORGET = 0.9995
"""What a step of one row leaves of it: what made more of them slow may be over, and they are tried again some day."""
_LONGEST = 1.5
"""How many times as long as expected a step may seem to have taken."""


class RowTimes:
    """How long steps of so many rows take here, measured: steps of one row apart (a vector is multiplied by other code
    than a matrix), all others by the line that fits them best."""

    def __init__(self) -> None:
        self._one = 0.0
        self._n = 0  # measurements of more rows
        # Of these, weighted: how many, their rows, rows squared, seconds, and rows times seconds.
        self._sums = [0.0] * 5
        self._line = (0.0, 0.0)  # seconds of no row and of a row more, which the last measurement left

    def observe(self, n_rows: int, seconds: float) -> None:
        """A step of `n_rows` took `seconds`."""
        if n_rows > 1:
            self._n += 1
            # One step that the machine was busy with something else in says nothing about the next.
            seconds = min(seconds, _LONGEST * self.of(n_rows)) if self._one or self._n > 1 else seconds
            self._fade(_FADE)
            for place, term in enumerate((1.0, n_rows, n_rows**2, seconds, n_rows * seconds)):
                self._sums[place] += term
        elif not self._one:
            self._one = seconds
        else:
            change = min(seconds / self._one, 2.0) - 1
            self._one *= 1 + change * (_FASTER if change < 0 else _SLOWER)
            self._fade(_FORGET)
        self._line = self._fitted()

    def _fade(self, share: float) -> None:
        self._sums = [share * term for term in self._sums]

    def of(self, n_rows: int) -> float:
        """Seconds that a step of `n_rows` should take; 0 where nothing was measured. Never less for more rows."""
        if n_rows == 1 and self._one:
            return self._one
        none, each = self._line
        return max(self._least(), none + each * n_rows)

    def _least(self) -> float:
        """Seconds of one row, a guess where none was decoded alone."""
        return self._one or (self._sums[3] / self._sums[0] / 2 if self._sums[0] else 0.0)

    def _fitted(self) -> tuple[float, float]:
        one = self._least()
        n, x, xx, y, xy = self._sums
        for rows in _GUESSED:
            guess = one * (1 + _AT_FIRST * (rows - 1))
            n, x, xx = n + _WEIGHT, x + _WEIGHT * rows, xx + _WEIGHT * rows**2
            y, xy = y + _WEIGHT * guess, xy + _WEIGHT * rows * guess
        slope = max(0.0, (n * xy - x * y) / (n * xx - x * x))
        return (y - slope * x) / n, slope


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
    gives anyway; `most` how many may be added, and `seconds` what a step takes with so many more of them, never less
    for more. No more than `savings`, in such steps without guesses, is put at risk.
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
        takes = seconds(n)
        if takes - plain > savings * plain or (expected + chance * (len(order) - n + 1)) / takes <= best:
            break  # more rows take no less, and are no more likely
        expected += chance
        if expected / takes > best:
            best, n_best = expected / takes, n
    for _, sequence in order[:n_best]:
        shares[sequence] += 1
    return shares
