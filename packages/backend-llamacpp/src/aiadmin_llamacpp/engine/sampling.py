"""From a row of logits to a token: log-probabilities, the constraint's mask, the sampler. Engine thread only."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from aiadmin_core.backend import Sampled
from aiadmin_core.errors import AiAdminError
from aiadmin_core.jobs import Job

from .sequence import Choice

Logits = npt.NDArray[np.float32]


class ConstraintExhausted(AiAdminError):
    """The constraint allows no token at all."""

    code = "constraint_exhausted"


def sample(job: Job, choice: Choice, row: int, read_logits: Callable[[int], Logits]) -> Sampled:
    """The next token of `choice`, from `row` of the step just decoded.

    `read_logits` gives that row as float32[n_vocab], the very memory the sampler reads: a mask is written into it.
    It is only looked at when there is a mask, or log-probabilities are asked for.
    """
    n_top = job.request.sampling.logprobs
    logits = None if n_top is None and choice.matcher is None else read_logits(row)
    logprobs = None if n_top is None or logits is None else log_softmax(logits)  # before the mask
    mask = None if choice.matcher is None else choice.matcher.mask()
    if mask is None or logits is None:
        token = choice.sampler.sample(row)
    elif job.request.n > 1 and choice.n_sampled == 0:
        # The choices of a request read their first token from one row: leave it as it was.
        untouched = logits.copy()
        apply_mask(logits, mask)
        token = choice.sampler.sample(row)
        logits[:] = untouched
    else:
        apply_mask(logits, mask)
        token = choice.sampler.sample(row)
    choice.n_sampled += 1
    if logprobs is None or n_top is None:
        return Sampled(job.request.id, choice.index, token)
    return Sampled(job.request.id, choice.index, token, float(logprobs[token]), most_likely(logprobs, n_top))


def apply_mask(logits: Logits, mask: Any) -> None:
    """Put -inf where `mask` (int32 words, bit i of word i // 32 is token i) has no bit.

    Raises `ConstraintExhausted` if it has none at all.
    """
    words = np.ascontiguousarray(mask, dtype="<i4").reshape(-1)
    if not words.any():
        raise ConstraintExhausted(
            "The constraint allows no token to follow.", hint="The schema or grammar cannot be satisfied from here."
        )
    allowed = np.unpackbits(words.view(np.uint8), count=len(logits), bitorder="little")
    np.copyto(logits, -np.inf, where=allowed == 0)


def log_softmax(logits: Logits) -> Logits:
    """Natural-log probabilities, a new array."""
    shifted: Logits = logits - logits.max()
    shifted -= np.float32(math.log(np.exp(shifted).sum(dtype=np.float64)))
    return shifted


def most_likely(logprobs: Logits, n: int) -> tuple[tuple[int, float], ...]:
    """The `n` most likely tokens, most likely first; of equals the lower id."""
    if n == 0:
        return ()
    n = min(n, len(logprobs))
    tokens = np.argpartition(-logprobs, n - 1)[:n]
    tokens = tokens[np.lexsort((tokens, -logprobs[tokens]))]
    return tuple((int(token), float(logprobs[token])) for token in tokens)
