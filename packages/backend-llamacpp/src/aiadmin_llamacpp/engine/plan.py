"""How a step is shared out: running sequences first, then prompts, the shortest first. Pure; called by `scheduler`."""

import math
from collections.abc import Iterable

from aiadmin_core.steps import Piece

from .sequence import Sequence

STALL_S = 0.15
"""How long prefilling may hold up sequences that are being decoded, each step."""

LONE_STALL_S = 0.5
"""How long a step may last that only prefills: who arrives or leaves meanwhile waits this long."""

MIN_CHUNK = 8
"""Fewest tokens of prompts in a step that has any: below, the fixed cost of a step dominates."""

FIRST_CHUNK = 32
"""While it is not known how fast this machine prefills this model."""

MOST_SCORED = 64
"""Tokens of prompts in a step whose own log-probabilities are wanted: each takes a row of logits."""

OLDEST_SHARE = 0.25
"""Of a step's prompt tokens, what the prompt that waits longest gets, however many shorter ones come by."""


def plan_step(sequences: Iterable[Sequence], *, n_batch: int, n_prefill: int) -> list[Piece[Sequence]]:
    """Running sequences first, one token each; then prompts in what is left of `n_batch`, and no more than `n_prefill`
    tokens of them."""
    sequences = list(sequences)
    pieces = [Piece(sequence, 1, "decode", (0,)) for sequence in sequences if sequence.n_missing == 1][:n_batch]
    prompts = [sequence for sequence in sequences if sequence.n_missing > 1]
    shares = share_prefill(_readable(prompts), min(n_batch - len(pieces), n_prefill))
    for prompt, n in zip(prompts, shares, strict=True):
        if n:
            pieces.append(Piece(prompt, n, "prefill", prompt.rows_of(n)))
    return pieces


def _readable(prompts: Iterable[Sequence]) -> list[int]:
    """How many tokens of each prompt one step may read: up to the next place where its state is to be saved; those to
    be scored are so few that their logits take little memory, and little time from others."""
    left = MOST_SCORED
    found: list[int] = []
    for prompt in prompts:
        scored = prompt.job.scores_are_due
        found.append(min(prompt.n_readable, left) if scored else prompt.n_readable)
        left -= found[-1] if scored else 0
    return found


def share_prefill(missing: Iterable[int], n: int) -> list[int]:
    """How many of the next `n` prompt tokens each prompt gets; `missing` is what each still needs, who waits longest
    first.

    The shortest remaining goes first, so that a question does not wait behind a book. A share of each step belongs to
    the one that waits longest, so that the book is read however many questions come by.
    """
    missing = list(missing)
    shares = [0] * len(missing)
    left = max(0, n)
    if missing:
        shares[0] = min(missing[0], math.ceil(left * OLDEST_SHARE))
        left -= shares[0]
    for index in sorted(range(len(missing)), key=missing.__getitem__):
        more = min(missing[index] - shares[index], left)
        shares[index] += more
        left -= more
    return shares


def prefill_limit(*, n_batch: int, n_decoding: int, tokens_per_s: float) -> int:
    """Tokens of prompts to put in one step: what this machine prefills in `STALL_S` where somebody waits for the next
    token, else in `LONE_STALL_S`."""
    if tokens_per_s <= 0:
        return min(n_batch, FIRST_CHUNK)
    return min(n_batch, max(MIN_CHUNK, int(tokens_per_s * (STALL_S if n_decoding else LONE_STALL_S))))
