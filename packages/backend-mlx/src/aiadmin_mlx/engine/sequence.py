"""A request on the engine thread, and its choices. Changed by the loop only."""

from dataclasses import dataclass, field
from typing import Any

from aiadmin_core.jobs import Job

from ..sampler import Sampler

RESERVE = 256
"""Tokens a sequence is expected to grow by. Few answers are as long as they may be: who reserved the whole context for
each would decode one at a time. Where the guess is wrong, a sequence waits and is resumed."""


@dataclass(eq=False, kw_only=True)
class Sequence:
    """One choice: its tokens in the batch's cache, and how the next one is chosen."""

    job: Job
    choice: int
    sampler: Sampler
    tokens: list[int] = field(default_factory=list)
    """Sampled and known to the host, the end token included."""
    n_launched: int = 0
    """Sampled, known to the host or not: at most one more than `tokens`."""
    n_cells: int = 0
    """Tokens of prompt and answer that are in the cache."""
    over: bool = False
    """Ended, cancelled or broken: it leaves the batch before the next step."""

    @property
    def n_expected(self) -> int:
        """Tokens it is expected to have soon."""
        return self.n_cells + min(RESERVE, self.job.max_tokens - len(self.tokens))


@dataclass(eq=False, kw_only=True)
class Prefill:
    """A prompt to prefill once for all of its `sequences`: a request's, or what a sequence had when it was put back."""

    job: Job
    prompt: tuple[int, ...]
    sequences: list[Sequence] = field(default_factory=list)
    resumes: bool = False
    """Whether its sequence has been decoded before."""
    n_cached: int = 0
    n_prefilled: int = 0
    """Prompt tokens in `caches`; all but the last one are prefilled, that one is the first decode step's."""
    caches: list[Any] = field(default_factory=list)
    """mlx-lm's caches, one a layer, while the prompt is being prefilled."""

    @property
    def n_to_prefill(self) -> int:
        return len(self.prompt) - 1 - self.n_prefilled

    @property
    def n_rows(self) -> int:
        """Places it takes in the batch once it is there."""
        return sum(not sequence.over for sequence in self.sequences)

    @property
    def n_expected(self) -> int:
        """Tokens each of its sequences is expected to have soon."""
        return len(self.prompt) + min(RESERVE, self.job.max_tokens)
