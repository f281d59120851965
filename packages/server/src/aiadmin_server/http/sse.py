"""Server-sent events, as the WHATWG's standard has them: what frames look like and which headers they need. Pure."""

from typing import Any

import msgspec

PING = b": ping\n\n"
"""A comment, sent when nothing else has been for a while, before proxies give up."""
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the stream back
)

_encoder = msgspec.json.Encoder()


def frame(data: Any, *, event: str = "") -> bytes:
    """One event: JSON has no line break, so one `data:` line holds it. `event` is its name, where it has one."""
    name = f"event: {event}\n".encode() if event else b""
    return b"".join((name, b"data: ", _encoder.encode(data), b"\n\n"))
