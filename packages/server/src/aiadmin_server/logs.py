"""What the server's log looks like, as text for people or as JSON for what collects logs. Used by `cli._serving`.

Records may bring `fields` (`http.record` does): JSON has them beside what every line has.
"""

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

import msgspec

Form = Literal["text", "json"]

SERVER_LOG = "server.log"
"""In the folder of the runners' logs."""
FILE_BYTES = 4 * 1024 * 1024
"""A log of this size is set aside as `server.log.1`, in place of the one before."""
_encoder = msgspec.json.Encoder(enc_hook=str)


class JsonLines(logging.Formatter):
    """An object a line: `time` (RFC 3339, UTC), `level`, `logger`, then the record's fields, or its `message` where it
    has none; `traceback` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **(getattr(record, "fields", None) or {"message": record.getMessage()}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encoder.encode(line).decode()


class KeptFile(RotatingFileHandler):
    """The log in a file that is kept small. A disk that is full costs the file, nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: standard error has the line, and a log about the log would have no end."""


def configure(level: int, form: Form, file: Path | None = None) -> None:
    """Log to standard error, from `level` on; to `file`, where there is one, from info on."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handlers = [handler]
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(KeptFile(file, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8", errors="replace"))
        except (OSError, ValueError) as error:  # ValueError: a path that no file system takes
            logging.getLogger("aiadmin.server").warning("The log %r cannot be written: %s", str(file), error)
        else:
            handlers[-1].setLevel(min(level, logging.INFO))
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    for one in handlers:
        one.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=min(one.level for one in handlers), handlers=handlers)
