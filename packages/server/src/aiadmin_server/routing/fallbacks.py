"""When a name is answered by another model than it stands for, and how that is told. Used by the router."""

import logging
from collections.abc import Sequence

from msgspec import Struct

from aiadmin_core.errors import (
    AiAdminError,
    EngineStopped,
    ModelCrashing,
    ModelLoadFailed,
    ModelNotFound,
    NoBackend,
    Overloaded,
    RunnerDied,
    StoreError,
)

FALLS_BACK = (
    ModelNotFound,
    NoBackend,
    Overloaded,
    ModelLoadFailed,
    ModelCrashing,
    EngineStopped,
    RunnerDied,
    StoreError,
)
"""Why a model cannot answer, and another one may: it is missing, cannot be loaded, or is full."""
LATER_STATUSES = (429, 502, 503, 504)
"""With these a model that was at hand does not answer after all (one behind another server, say), and another may."""
N_KEPT = 16
"""Names that were answered by another model, of which the reason is kept."""
logger = logging.getLogger(__name__)


class Fallback(Struct, frozen=True, kw_only=True):
    """A name that was answered by another model than it stands for."""

    name: str
    model: str
    at: float
    """Unix seconds, of the last time."""
    reason: str


class Fallbacks:
    """The last that were taken."""

    def __init__(self) -> None:
        self._kept: list[Fallback] = []

    def taken(self, fallback: Fallback) -> None:
        """Log it, and keep it as the latest of its name and model."""
        logger.info("'%s' is answered by %s, a fallback: %s", fallback.name, fallback.model, fallback.reason)
        same = (fallback.name, fallback.model)
        others = [one for one in self._kept if (one.name, one.model) != same]
        self._kept = [*others[1 - N_KEPT :], fallback]

    def latest(self) -> Sequence[Fallback]:
        """The latest first."""
        return tuple(reversed(self._kept))


def falls_back_on(error: AiAdminError) -> bool:
    """Whether another model is to be asked after `error`, of which a client has heard nothing yet."""
    return isinstance(error, FALLS_BACK) or error.status in LATER_STATUSES


def reason_of(failures: Sequence[AiAdminError]) -> str:
    """Why the models before could not answer; "" where there are none."""
    return " ".join(error.message for error in failures)


def failed_with(failures: Sequence[AiAdminError]) -> AiAdminError:
    """The first of what kept a name from being answered, with what kept its fallbacks."""
    first, *others = failures
    if not others:
        return first.with_traceback(None)  # it may be raised again and again: each raise adds frames
    return first.with_hint(f"{first.hint} Nor can what it falls back on: {reason_of(others)}".strip())
