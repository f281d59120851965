"""Whom to unload when another model needs the place. Pure; asked by the scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass

FOREVER = float("inf")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A loaded model that could go."""

    id: int
    n_active: int
    """Requests it is working on, or that wait for it."""
    remaining_s: float
    """Until it would be unloaded anyway; infinite for one that stays."""
    last_used_at: float
    load_s: float = 1.0
    """What it took to load: what it costs to have it back."""
    n_bytes: int = 0
    """Memory that its end frees."""

    @property
    def cost(self) -> tuple[float, float, float]:
        """What losing it costs: the time to load it again, as likely as it is to be asked for in the time it had left.
        Pinned ones last, the least recently used first of equals."""
        pinned = self.remaining_s == FOREVER
        lost_s = max(self.load_s, 0.1) * (1.0 if pinned else max(self.remaining_s, 0.0))
        return float(pinned), lost_s, self.last_used_at


def choose(candidates: Sequence[Candidate], *, n_places: int = 1, n_bytes: int = 0) -> tuple[int, ...]:
    """The idle models whose end frees `n_places` places and `n_bytes` of memory, at the least cost: none that is not
    needed for it, and none at all where all of them would not do. One that is working is never among them.
    """
    chosen: list[Candidate] = []
    for candidate in sorted((one for one in candidates if one.n_active == 0), key=lambda one: one.cost):
        if _enough(chosen, n_places, n_bytes):
            break
        chosen.append(candidate)
    if not _enough(chosen, n_places, n_bytes):
        return ()
    for candidate in sorted(chosen, key=lambda one: one.cost, reverse=True):
        others = [other for other in chosen if other is not candidate]
        if _enough(others, n_places, n_bytes):
            chosen = others
    return tuple(one.id for one in chosen)


def least_busy(candidates: Sequence[Candidate]) -> int | None:
    """The one to be given no new requests, when somebody has waited too long for an idle one."""
    ranked = sorted(candidates, key=lambda one: (one.n_active, one.cost))
    return ranked[0].id if ranked else None


def _enough(chosen: Sequence[Candidate], n_places: int, n_bytes: int) -> bool:
    return len(chosen) >= n_places and sum(one.n_bytes for one in chosen) >= n_bytes
