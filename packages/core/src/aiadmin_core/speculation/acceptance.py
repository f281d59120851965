"""How likely guesses are to come true, learnt from every token of a choice, whether or not anything was drafted. Pure.

An answer copies what was there before, or it only happens to use the same words. Copies go on for long, and happen to
end somewhere; the other guesses are right about as often as not. Which of the two it is shows soon, so what is kept is
how likely it is to be a copy (Bayes, with two hypotheses).
"""

from collections.abc import Iterator
from math import exp, log

COPIED, COMMON = 0.98, 0.6
"""How many guesses come true in a copy, and otherwise (SmolLM2: 0.5 to 0.7 where it tells stories and lists)."""

AT_FIRST, EXPECTED = log(0.05), log(10)
"""The logarithm of the odds that an answer is a copy, unasked, and where the client has said what it expects."""

_LEAST, _MOST = log(0.02), log(30)
"""Odds never get so bad, or so good, that a few tokens could not turn them."""


class Acceptance:
    """What is known of one choice's guesses."""

    def __init__(self, odds: float = AT_FIRST) -> None:
        """`odds`: the logarithm of those that it is a copy."""
        self._odds = odds

    def observe(self, *, hit: bool) -> None:
        """A guess came true, or did not."""
        self._odds += log(COPIED / COMMON) if hit else log((1 - COPIED) / (1 - COMMON))
        self._odds = min(_MOST, max(_LEAST, self._odds))

    def chances(self) -> Iterator[float]:
        """The chance that the first guessed token comes true, that the first two do, and so on without end."""
        copied = 1 / (1 + exp(-self._odds))
        common = 1 - copied
        while True:
            copied *= COPIED
            common *= COMMON
            yield copied + common
