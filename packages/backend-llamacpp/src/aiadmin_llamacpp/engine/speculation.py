"""Which guessed tokens a step decodes beside those it has to. Called by the scheduler, on the engine thread.

A guess costs a row of the step, and saves a step where it comes true: its row then has the next token's logits already.
Every token is chosen from logits that follow the tokens before it, with the random numbers of its place, so answers are
the same with and without, wherever a row's bits do not depend on how many there are (`exactness`).
"""

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Many
from itertools import islice

from aiadmin_core.jobs import Job
from aiadmin_core.speculation.drafter import Drafter
from aiadmin_core.speculation.lookup import Beginning
from aiadmin_core.speculation.pays import MOST_DRAFTED, RowTimes, Savings, share_rows

from .sequence import Sequence

LEAST_TOKENS = 8
"""Answers shorter than that are over before anything of them repeats."""


class Speculator:
    """Guesses by what was said before, in numbers that pay by measured time."""

    def __init__(self, *, everyone: bool, share: Callable[..., list[int]] = share_rows) -> None:
        """`everyone`: not only those whose steps are filled up, so that a row's bits do not depend on the others.
        `share`: how many tokens are worth it, see `share_rows`."""
        self.share = share
        self._everyone = everyone
        self._times = RowTimes()
        self._savings = Savings()

    def drafters(self, job: Job, *, filled: bool) -> list[Drafter | None]:
        """One for each choice of `job`; None where nothing is to be guessed. `filled`: its steps are."""
        request = job.request
        if job.max_tokens < LEAST_TOKENS or not request.speculation or not (filled or self._everyone):
            return [None] * request.n
        beginning = Beginning(job.tokens, request.prediction)
        return [Drafter(beginning) for _ in range(request.n)]

    def observe(self, *, n_tokens: int, n_plain: int, n_rows: int, n_accepted: int, seconds: float) -> None:
        """A step of `n_rows` took so long, choosing its tokens included. It gave `n_tokens` and `n_accepted` guessed
        ones; without guesses it would have had `n_plain` rows."""
        self._times.observe(n_rows, seconds)
        # As such a step usually takes: what the machine was busy with meanwhile is not for the guesses to pay.
        usual, plain = self._times.of(n_rows), self._times.of(n_plain)
        self._savings.observe(n_accepted, n_tokens=n_tokens, seconds=usual, plain=plain)

    def drafts(self, sequences: Many[Sequence], *, most: int, n_rows: Callable[[int], int]) -> list[list[int]]:
        """What to decode of each of `sequences` beside its last token, `most` tokens in all. `n_rows` says how many
        rows the step has with so many more tokens."""
        chances = [islice(self._chances(sequence), max(0, sequence.n_to_come - 1)) for sequence in sequences]
        shares = self.share(
            chances,
            n_tokens=len(sequences),
            most=min(most, MOST_DRAFTED),
            seconds=lambda n: self._times.of(n_rows(n)),
            savings=self._savings.n_steps,
        )
        return [self._draft(sequence, n) for sequence, n in zip(sequences, shares, strict=True)]

    @staticmethod
    def _chances(sequence: Sequence) -> Iterable[float]:
        drafter = sequence.choices[0].drafter
        return drafter.chances() if drafter is not None else ()

    @staticmethod
    def _draft(sequence: Sequence, n: int) -> list[int]:
        """Nothing is drafted that the choice's constraint does not allow."""
        choice = sequence.choices[0]
        guess = choice.drafter.guess(n) if n and choice.drafter is not None else []
        if guess and choice.matcher is not None:
            n = choice.matcher.try_commit(guess)
            choice.matcher.rollback(n)
            return guess[:n]
        return guess
