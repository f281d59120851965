"""What the server's log looks like, as text for people or as JSON for what collects logs. Used by `cli._serving`.

Records may bring `fields` (`http.record` does): JSON has them beside what every line has.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec

Form = Literal["text", "json"]

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


def configure(level: int, form: Form) -> None:
    """Log to standard error, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=level, handlers=[handler])
