"""Which upstream a request goes to: what is known of each, and the decisions. The engine's event loop owns the state;
the decisions are pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .failures import Unavailable
from .remote import host_of

MAX_ATTEMPTS = 3
"""Of one request. A request that breaks servers must not break all of them."""
MAX_WAIT_S = 5.0
"""Longest `Retry-After` that is waited for; a longer one is passed on to the client."""
MAX_BACKOFF_S = 60.0


@dataclass(kw_only=True, eq=False)
class Upstream:
    """One server. Times are `time.monotonic()`."""

    url: str
    n_active: int = 0
    n_started: int = 0
    """Requests since the engine opened."""
    failures: int = 0
    """In a row; a request that is answered sets it back, a health check does not."""
    down: bool = False
    check_at: float = 0.0
    """When it is asked again, while it is down."""
    rest_until: float = 0.0
    """It is busy and said so."""
    last_error: str = ""

    @property
    def host(self) -> str:
        return host_of(self.url)

    def failed(self, reason: str, now: float) -> None:
        self.failures += 1
        self.down = True
        self.check_at = now + backoff_s(self.failures)
        self.last_error = reason

    def reachable(self) -> None:
        """A health check was answered. Whether requests are will be seen."""
        self.down = False

    def answered(self) -> None:
        self.failures = 0
        self.down = False


def backoff_s(failures: int) -> float:
    """Seconds until an upstream that failed this many times in a row is asked again: 1, 2, 4, ..., 60."""
    return float(min(MAX_BACKOFF_S, 2 ** min(failures - 1, 6)))


def choose(upstreams: Sequence[Upstream], now: float, *, without: Collection[Upstream] = ()) -> Upstream | None:
    """The least busy of the healthy ones; among equals the one that was asked least often.

    One that asked for a pause is taken only where no other is healthy, one that is down only where all are: trying
    is better than refusing.
    """
    candidates = [upstream for upstream in upstreams if upstream not in without]
    return min(candidates, key=lambda one: (one.down, one.rest_until > now, one.n_active, one.n_started), default=None)


def next_try(
    upstreams: Sequence[Upstream], failures: Sequence[Unavailable], now: float
) -> tuple[Upstream, float] | None:
    """The upstream to try after these failures and the seconds to wait first; None: give up.

    Each is tried once; then those that named a time to come back, once it has come.
    """
    if len(failures) >= MAX_ATTEMPTS:
        return None
    tried = {failure.url for failure in failures}
    fresh = choose(upstreams, now, without=[upstream for upstream in upstreams if upstream.url in tried])
    if fresh is not None:
        return fresh, 0.0
    asked_back = {failure.url for failure in failures if failure.retry_after_s is not None}
    waits = [(max(0.0, one.rest_until - now), one) for one in upstreams if one.url in asked_back]
    wait_s, upstream = min(waits, key=lambda pair: pair[0], default=(MAX_WAIT_S + 1, None))
    return (upstream, wait_s) if upstream is not None and wait_s <= MAX_WAIT_S else None
