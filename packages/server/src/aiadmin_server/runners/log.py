"""What a runner writes: its last lines in memory, all of it in a file that is kept small. Owned by one `process`."""

import logging
import time
from collections import deque
from pathlib import Path

LOGS = "logs"
"""The folder of the state folder that holds them."""
TAIL_LINES = 200
LINE_CHARS = 2000
FILE_BYTES = 4 * 1024 * 1024
"""A log file of this size is set aside as `<name>.1`, in place of the one before."""

logger = logging.getLogger(__name__)


class RunnerLog:
    """Takes what a runner writes, as it comes. A disk that is full costs the file, nothing else."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.last_output_at = time.monotonic()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._partial = b""

    @property
    def lines(self) -> list[str]:
        """The last lines, whole or not."""
        return [*self._tail, *([_text(self._partial)] if self._partial else [])]

    def write(self, data: bytes) -> None:
        """Keep `data`."""
        self.last_output_at = time.monotonic()
        *whole, self._partial = (self._partial + data).split(b"\n")
        self._tail.extend(_text(line) for line in whole)
        self._partial = self._partial[-LINE_CHARS:]
        if self.path is not None:
            try:
                _append(self.path, data)
            except (OSError, ValueError) as error:  # ValueError: a path that no file system takes
                logger.warning("The runner's log %r cannot be written: %s", str(self.path), error)
                self.path = None


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size + len(data) > FILE_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    with path.open("ab") as file:
        file.write(data)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")[:LINE_CHARS]
