"""Server-sent events, as the WHATWG's standard has them: what frames look like and which headers they need. Pure."""

from typing import Any

from .unbroken import encode

PING = b": ping\n\n"
"""A comment, sent when nothing else has been for a while, before proxies give up."""
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the stream back
)


def frame(data: Any, *, event: str = "") -> bytes:
    """One event, in one `data:` line. `event` is its name, where it has one."""
    name = f"event: {event}\n".encode() if event else b""
    return b"".join((name, b"data: ", encode(data), b"\n\n"))
