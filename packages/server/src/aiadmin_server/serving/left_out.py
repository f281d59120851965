"""Fields that were left out of requests: the administrator learns of them in the log and the metrics, as whoever sent
them does in the answer's headers. Used by `exchange`."""

import logging
import re
from collections.abc import Callable, Sequence

LOG = logging.getLogger("aiadmin.server")

MOST_NAMES = 500
"""Names that are remembered as logged: clients choose them."""
NAME_CHARS = 80


class LeftOut:
    """Logs each name once, and counts. One per app."""

    def __init__(self, count: Callable[[str, int], None] = lambda _endpoint, _n: None) -> None:
        """`count` is told the endpoint, and how many fields a request of it had that were left out."""
        self._count = count
        self._logged: set[str] = set()

    def note(self, endpoint: str, names: Sequence[str]) -> None:
        if not names:
            return
        self._count(endpoint, len(names))
        for name in names:
            short = _without_places(name)[:NAME_CHARS]
            if short not in self._logged and len(self._logged) < MOST_NAMES:
                self._logged.add(short)
                LOG.info("%s: the field %r is not known here and is left out of requests", endpoint, short)


def _without_places(name: str) -> str:
    """`messages[].id` for `messages[3].id`."""
    return re.sub(r"\[\d+\]", "[]", name)
