"""Newline-delimited JSON: one object a line. Pure."""

from typing import Any

from .unbroken import encode

PING = b""
"""There is no line without a meaning: nothing is sent while nothing is there."""
HEADERS = ((b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


def frame(data: Any) -> bytes:
    """One line."""
    return encode(data) + b"\n"
