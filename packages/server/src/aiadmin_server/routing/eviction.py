"""Whom to unload when another model needs the place. Pure; the router acts on it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A loaded model that could go."""

    key: str
    n_active: int
    """Requests it is working on, or that wait for it."""
    remaining_s: float
    """Until it would be unloaded anyway; infinite for one that stays."""
    last_used_at: float


def choose(candidates: Sequence[Candidate], *, patient: bool = True) -> str | None:
    """The key of the model to unload: an idle one, the one that would go first, the least recently used of equals.

    None where all are busy: the first to become idle is the one. Who has waited too long for that is not `patient`:
    the least busy is given no new requests, and goes when it has answered those it has.
    """
    pool = [candidate for candidate in candidates if candidate.n_active == 0]
    if not pool and not patient:
        pool = list(candidates)
    if not pool:
        return None
    return min(pool, key=lambda candidate: (candidate.n_active, candidate.remaining_s, candidate.last_used_at)).key
