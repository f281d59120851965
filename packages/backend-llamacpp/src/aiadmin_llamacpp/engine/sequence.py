"""The state of one request's sequences. Made by the loop, moved along by the scheduler; engine thread only."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiadmin_core.backend import Matcher, TokenRequest

from .kv import Slot
from .tokens import TokenBuffer

EndReason = Literal["stop", "length"]


class Sampler(Protocol):
    """What `native.samplers.SamplerChain` does."""

    def sample(self, row: int) -> int: ...
    def close(self) -> None: ...


ALIGN = 64
"""Chunk size of requests that are to be reproducible. From 64 tokens in a step on, attention on the CPU takes another
path (ggml's tiled flash attention), and the logits of the last token differ by some tenths. So such a prompt is always
cut at the same places, and reused up to one of them, however much of it is found in the cache. Beside other
requests, or in a cache that has holes, the last bits may still differ: cells are added up in the order they lie in."""


@dataclass(slots=True, eq=False)
class Choice:
    """One answer that is being generated."""

    index: int
    sampler: Sampler
    matcher: Matcher | None = None
    n_sampled: int = 0


@dataclass(slots=True, eq=False)
class Job:
    """What the sequences of one request have in common. Times are `time.monotonic` seconds."""

    request: TokenRequest
    n_prompt: int
    max_tokens: int
    """For each choice; never more than the context has room for."""
    arrival: int
    """Counts up: who came first."""
    submitted_at: float
    admitted_at: float = 0.0
    prefilled_at: float = 0.0
    n_cached: int = 0

    @property
    def align(self) -> int:
        return 1 if self.request.sampling.seed is None else ALIGN


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

    @property
    def n_missing(self) -> int:
        return self.tokens.n - self.slot.n if self.slot else self.tokens.n

    def n_next(self, most: int) -> int:
        """How many of the missing tokens to decode in one step, if `most` may be."""
        n = min(self.n_missing, most)
        n_held = self.slot.n if self.slot else 0
        align = self.job.align
        tail = (self.job.n_prompt - 1) // align * align  # where the last chunk starts
        return min(n, tail - n_held) if align > 1 and n_held < tail else n

    @property
    def n_to_come(self) -> int:
        """Most tokens each of its choices may still generate."""
        return self.job.max_tokens - max((choice.n_sampled for choice in self.choices), default=0)

    @property
    def order(self) -> tuple[int, int]:
        """Sorts by priority, then arrival."""
        return (-self.job.request.priority, self.job.arrival)
