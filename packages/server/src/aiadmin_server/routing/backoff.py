"""How long a model is left alone after it could not be loaded, or has died again and again. Kept by the fleet."""

from dataclasses import dataclass

from aiadmin_core.errors import AiAdminError, ModelCrashing

from . import reasons


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Seconds."""

    load_s: float = 1.0
    load_max_s: float = 15.0
    """After a load that failed: at first, and after many in a row. Doubles."""
    death_s: float = 1.0
    death_max_s: float = 60.0
    """After the third death in a short while, and at most. Doubles: clients that send a deadly request again by
    themselves must not keep the machine busy with loading its model."""
    n_free_deaths: int = 2
    death_window_s: float = 120.0
    """The short while."""

    def after_failures(self, n_in_a_row: int) -> float:
        """How long nothing is tried after so many loads failed."""
        return min(self.load_s * 2.0 ** min(n_in_a_row - 1, 30), self.load_max_s)

    def after_deaths(self, n_deaths: int) -> float:
        """How long nothing is started after so many deaths: the first ones cost nobody else anything."""
        n_counted = n_deaths - self.n_free_deaths
        return min(self.death_s * 2.0 ** min(n_counted - 1, 30), self.death_max_s) if n_counted > 0 else 0.0


@dataclass(frozen=True)
class Failure:
    """A load that did not succeed."""

    error: AiAdminError
    until: float
    n_in_a_row: int


class History:
    """What went wrong with each model of late, by its key. Times are the fleet's clock's."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures: dict[str, Failure] = {}
        self._deaths: dict[str, tuple[float, ...]] = {}

    def check(self, key: str, name: str, now: float) -> None:
        """Raises why a model is not to be loaded just now: its last failure, `ModelCrashing`."""
        failure = self._failures.get(key)
        if failure is not None and now < failure.until:
            raise failure.error.with_traceback(None)  # each raise adds frames, which hold the requests before
        deaths = self._recent_deaths(key, now)
        wait_s = deaths[-1] + self._backoff.after_deaths(len(deaths)) - now if deaths else 0.0
        if wait_s > 0:
            within = reasons.duration(self._backoff.death_window_s)
            raise ModelCrashing(
                f"The process serving {name} has died {len(deaths)} times within {within}.",
                hint=f"It is started again in {reasons.duration(wait_s)}; the server's log says how it died.",
                retry_after_s=max(1, round(wait_s)),
            )

    def loaded(self, key: str) -> None:
        """It could be loaded: what failed before is forgotten."""
        self._failures.pop(key, None)

    def failed(self, key: str, error: AiAdminError, now: float) -> None:
        """It could not: whoever asks within a moment is told the same."""
        kept_s = self._backoff.load_max_s  # keys hold options that clients choose: they must not pile up
        self._failures = {key: failure for key, failure in self._failures.items() if now < failure.until + kept_s}
        n_in_a_row = self._failures[key].n_in_a_row + 1 if key in self._failures else 1
        self._failures[key] = Failure(error, now + self._backoff.after_failures(n_in_a_row), n_in_a_row)

    def died(self, key: str, now: float) -> None:
        """Its process has ended unasked."""
        kept = {key: deaths for key in self._deaths if (deaths := self._recent_deaths(key, now))}
        self._deaths = kept | {key: (*kept.get(key, ()), now)}

    def _recent_deaths(self, key: str, now: float) -> tuple[float, ...]:
        return tuple(at for at in self._deaths.get(key, ()) if now - at < self._backoff.death_window_s)
