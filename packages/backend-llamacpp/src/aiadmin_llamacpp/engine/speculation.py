"""Which guessed tokens a step decodes beside those it has to. Called by the scheduler, on the engine thread.

A guess costs a row of the step, and saves a step where it comes true: its row then has the next token's logits already.
Every token is chosen from logits that follow the tokens before it, with the random numbers of its place, so answers are
the same with and without, wherever a row's bits do not depend on how many there are (`exactness`).
"""

from collections.abc import Callable
from collections.abc import Sequence as Many
from itertools import islice
from time import perf_counter

from aiadmin_core.jobs import Job
from aiadmin_core.speculation.drafter import Drafter
from aiadmin_core.speculation.lookup import Beginning
from aiadmin_core.speculation.pays import MOST_DRAFTED, RowTimes, Savings, share_rows

from .drafting import DraftModel, Key
from .sequence import Sequence

LEAST_TOKENS = 8
"""Answers shorter than that are over before anything of them repeats."""


class Speculator:
    """Guesses by what was said before, or by a draft model, in numbers that pay by measured time."""

    def __init__(
        self, *, everyone: bool, share: Callable[..., list[int]] = share_rows, model: DraftModel | None = None
    ) -> None:
        """`everyone`: not only those whose steps are filled up, so that a row's bits do not depend on the others.
        `share`: how many tokens are worth it, see `share_rows`."""
        self.share = share
        self._everyone = everyone
        self._model = model
        self._asked_s = 0.0  # what asking the model has taken since the last step
        self._times = RowTimes()
        self._savings = Savings()

    def drafters(self, job: Job, *, filled: bool) -> list[Drafter | None]:
        """One for each choice of `job`; None where nothing is to be guessed. `filled`: its steps are."""
        request = job.request
        if job.max_tokens < LEAST_TOKENS or not request.speculation or not (filled or self._everyone):
            return [None] * request.n
        beginning = Beginning(job.tokens, request.prediction)
        return [Drafter(beginning, has_model=self._model is not None) for _ in range(request.n)]

    def observe(self, *, n_tokens: int, n_plain: int, n_rows: int, n_accepted: int, seconds: float) -> None:
        """A step of `n_rows` took so long, choosing its tokens included. It gave `n_tokens` and `n_accepted` guessed
        ones; without guesses it would have had `n_plain` rows."""
        self._times.observe(n_rows, seconds)
        # As such a step usually takes: what the machine was busy with meanwhile is not for the guesses to pay.
        usual, plain = self._times.of(n_rows) + self._asked_s, self._times.of(n_plain)
        self._savings.observe(n_accepted, n_tokens=n_tokens, seconds=usual, plain=plain)
        self._asked_s = 0.0

    def drafts(self, sequences: Many[Sequence], *, most: int, n_rows: Callable[[int], int]) -> list[list[int]]:
        """What to decode of each of `sequences` beside its last token, `most` tokens in all. `n_rows` says how many
        rows the step has with so many more tokens."""
        drafters = [sequence.choices[0].drafter for sequence in sequences]
        asks = any(drafter is not None and drafter.asks_model for drafter in drafters)
        token_s = self._model.token_s if asks and self._model is not None else 0.0
        shares = self.share(
            [
                islice(drafter.chances() if drafter is not None else (), max(0, sequence.n_to_come - 1))
                for sequence, drafter in zip(sequences, drafters, strict=True)
            ],
            n_tokens=len(sequences),
            most=min(most, MOST_DRAFTED),
            seconds=lambda n: self._times.of(n_rows(n)) + n * token_s,
            savings=self._savings.n_steps,
        )
        found = self._ask_model(sequences, shares)
        return [
            self._allowed(sequence, found.get(_key(sequence)) or self._looked_up(sequence, n))
            for sequence, n in zip(sequences, shares, strict=True)
        ]

    def _ask_model(self, sequences: Many[Sequence], shares: Many[int]) -> dict[Key, list[int]]:
        """The draft model's guesses for those that are to have some and would rather ask it."""
        asking = {
            _key(sequence): (sequence, n)
            for sequence, n in zip(sequences, shares, strict=True)
            if n and (drafter := sequence.choices[0].drafter) is not None and drafter.asks_model
        }
        if not asking or self._model is None:
            return {}
        started = perf_counter()
        found = self._model.guess({key: (sequence.tokens.view(), n) for key, (sequence, n) in asking.items()})
        self._asked_s += perf_counter() - started
        for key, guess in found.items():
            if (drafter := asking[key][0].choices[0].drafter) is not None:
                drafter.told(guess)
        return found

    @staticmethod
    def _looked_up(sequence: Sequence, n: int) -> list[int]:
        drafter = sequence.choices[0].drafter
        return drafter.guess(n) if n and drafter is not None and not drafter.asks_model else []

    @staticmethod
    def _allowed(sequence: Sequence, guess: list[int]) -> list[int]:
        """Nothing is drafted that the choice's constraint does not allow."""
        matcher = sequence.choices[0].matcher
        if guess and matcher is not None:
            n = matcher.try_commit(guess)
            matcher.rollback(n)
            return guess[:n]
        return guess


def _key(sequence: Sequence) -> Key:
    request = sequence.job.request
    return Key(request.cache_salt, request.id, sequence.choices[0].index)
