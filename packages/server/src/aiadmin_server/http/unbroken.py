"""JSON in which nobody finds a line break, for streams that are cut at them. Pure; used by `sse` and `ndjson`."""

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_BREAKS = tuple((mark.encode(), f"\\u{ord(mark):04x}".encode()) for mark in "\u2028\u2029\x85")
"""What Unicode ends a line with and JSON leaves as it is: clients that split lines as Unicode does (Python's
`splitlines`, JavaScript before 2019) would tear an event that holds one."""


def encode(data: Any) -> bytes:
    """`data` as JSON in one line, however lines are told apart."""
    encoded = _encoder.encode(data)
    if encoded.isascii():  # nearly always
        return encoded
    for mark, escaped in _BREAKS:
        encoded = encoded.replace(mark, escaped)
    return encoded
