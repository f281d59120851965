"""The state of one request's sequences. Made by the loop, moved along by the scheduler; engine thread only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from aiadmin_core.backend import Matcher
from aiadmin_core.jobs import Job
from aiadmin_core.sampling.choice import ChoiceSampler
from aiadmin_core.speculation.drafter import Drafter

from .kv import Slot
from .tokens import TokenBuffer
from .turns import State, state_of

EndReason = Literal["stop", "length"]


@dataclass(slots=True, eq=False)
class Choice:
    """One answer that is being generated."""

    index: int
    sampler: ChoiceSampler
    matcher: Matcher | None = None
    drafter: Drafter | None = None
    """Guesses what comes next, where that is wanted."""

    @property
    def n_sampled(self) -> int:
        return self.sampler.n_sampled


@dataclass(slots=True, eq=False)
class Sequence:
    """Tokens that are, or are to be, in the KV cache.

    The choices of a request are one sequence until its prompt is prefilled, and one each from then on. There is no
    state "prefilling" or "decoding": what is not in the cache yet (`n_missing`) has to be decoded, and logits are
    wanted when nothing is missing any more. A sequence that had to give up its place does the same again.
    """

    job: Job
    tokens: TokenBuffer
    choices: list[Choice] = field(default_factory=list)
    slot: Slot | None = None
    """Its place in the cache, while it runs."""
    behind: "Sequence | None" = None
    """One that is being scored and begins alike: this one waits, and computes less afterwards."""
    long: bool = False
    """Whether its prompt may be read apart, see `long_prompts`."""
    n_drafted: int = 0
    """Tokens at its end that are guesses: put there for a step, and gone or chosen when it is over."""

    @property
    def adapters(self) -> State:
        adapters = self.job.request.adapters
        return state_of(adapters) if adapters else ()

    @property
    def n_missing(self) -> int:
        return self.tokens.n - self.slot.n if self.slot else self.tokens.n

    @property
    def n_readable(self) -> int:
        """How many of what is missing may be read in one step: its state is to be saved in between."""
        checkpoints = self.slot.checkpoints if self.slot else []
        return min([self.n_missing, *(place - self.slot.n for place in checkpoints[:1] if self.slot)])

    @property
    def n_to_come(self) -> int:
        """Most tokens each of its choices may still generate."""
        return self.job.max_tokens - max((choice.n_sampled for choice in self.choices), default=0)

    @property
    def guessed(self) -> int | None:
        """The first of the guesses that are left."""
        return int(self.tokens.view(self.tokens.n - self.n_drafted)[0]) if self.n_drafted else None

    def draft(self, tokens: Iterable[int]) -> None:
        """Put guesses behind its last token."""
        for token in tokens:
            self.tokens.append(token)
            self.n_drafted += 1

    def rows_of(self, n: int) -> tuple[int, ...]:
        """Which of its next `n` positions have to give logits: those of the prompt that are to be scored and have not
        been, and the last of all."""
        job, start = self.job, self.slot.n if self.slot else 0
        scored = range(job.n_scored - start, min(n, job.n_to_score - start))
        return (*scored, n - 1) if n == self.n_missing else tuple(scored)

    @property
    def n_reusable(self) -> int:
        """Most of its tokens that may come from the cache: whatever has to give logits is decoded."""
        return self.job.n_scored if self.job.scores_are_due else self.tokens.n - 1

    @property
    def order(self) -> tuple[int, int]:
        """Sorts by priority, then arrival."""
        return self.job.order
