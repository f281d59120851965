"""Who is prefilled next, how much of it in one step, and who makes room. Pure functions; called by the loop."""

from collections.abc import Sequence

from .sequence import Job

MIN_CHUNK = 8
"""Fewest tokens a prefill chunk has: below, the fixed cost of a step dominates."""

STALL_S = 0.25
"""How long a prefill chunk may hold up sequences that are being decoded."""

LONE_STALL_S = 1.0
"""How long one may last when nothing else runs: a cancelled request ends this soon."""


def next_admission(waiting: Sequence[Job], expected: Sequence[int], *, n_parallel: int, n_cells: int) -> Job | None:
    """The waiting job to prefill now: the first of the highest priority, once there is room for it. Nobody overtakes
    it, so that a large request gets its turn.

    `expected` are the tokens that each running row is expected to have soon. Rows of a batch are padded to the longest
    of them: a job fits when all rows, that long, have room in `n_cells`. Alone, it always fits.
    """
    if not waiting:
        return None
    job = max(waiting, key=lambda job: job.request.priority)  # the first of equals
    if not expected:
        return job
    n_rows = job.n_rows + len(expected)
    longest = max(job.n_expected, *expected)
    return job if n_rows <= n_parallel and n_rows * longest <= n_cells else None


def overfull(lengths: Sequence[int], *, n_cells: int) -> bool:
    """Whether rows of these lengths cannot take another token each, and one of them has to leave for now."""
    return len(lengths) > 1 and len(lengths) * (max(lengths) + 1) > n_cells


def chunk_size(*, tokens_per_s: float, n_batch: int, decoding: bool) -> int:
    """Tokens of the next prefill chunk: as many as the measured speed allows in the time it may take."""
    wanted = int(tokens_per_s * (STALL_S if decoding else LONE_STALL_S))
    return min(n_batch, max(MIN_CHUNK, wanted - wanted % MIN_CHUNK))


def smoothed(tokens_per_s: float, *, n_tokens: int, seconds: float) -> float:
    """The prefill speed after one more chunk was timed; short chunks count less."""
    if seconds <= 0:
        return tokens_per_s
    weight = min(0.5, n_tokens / 64)
    return tokens_per_s * (1 - weight) + n_tokens / seconds * weight
