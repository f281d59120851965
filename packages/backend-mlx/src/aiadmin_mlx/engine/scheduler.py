"""Who is prefilled next, for how long, and who makes room. Pure functions; called by the loop."""

from collections.abc import Sequence

from .sequence import Prefill

MIN_CHUNK = 8
"""Fewest tokens a prefill chunk has: below, the fixed cost of a step dominates."""

MOST_SCORED = 64
"""Tokens of a chunk whose own log-probabilities are wanted: each takes a row of logits."""

STALL_S = 0.25
"""How long a prefill chunk may hold up sequences that are being decoded."""

LONE_STALL_S = 1.0
"""How long one may last when nothing else runs: a cancelled request ends this soon."""


def next_admission(
    waiting: Sequence[Prefill], expected: Sequence[int], *, n_parallel: int, n_cells: int
) -> Prefill | None:
    """The waiting prompt to prefill now: the first of the highest priority, once there is room for it. Nobody overtakes
    it, so that a large request gets its turn.

    `expected` are the tokens that each running row is expected to have soon. Rows of a batch are padded to the longest
    of them: it fits when all rows, that long, have room in `n_cells`. Alone, it always fits.
    """
    if not waiting:
        return None
    first = max(waiting, key=lambda prefill: prefill.job.request.priority)  # the first of equals
    if not expected:
        return first
    n_rows = first.n_rows + len(expected)
    longest = max(first.n_expected, *expected)
    return first if n_rows <= n_parallel and n_rows * longest <= n_cells else None


def overfull(lengths: Sequence[int], *, n_cells: int) -> bool:
    """Whether rows of these lengths cannot take another token each, and one of them has to leave for now."""
    return len(lengths) > 1 and len(lengths) * (max(lengths) + 1) > n_cells
