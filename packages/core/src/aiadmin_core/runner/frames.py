"""Frames: a length (u32, big-endian) and that many bytes of msgpack. Pure; `transport` moves them.

A frame is never larger than `MAX_FRAME_BYTES`: a longer one is refused when its header is read, before a byte of it
is stored, and refused by the sender before a byte of it is sent.
"""

from typing import Any

from msgspec import msgpack

from .messages import Command, Reply

MAX_FRAME_BYTES = 64 * 1024 * 1024
HEADER_BYTES = 4

COMMANDS: msgpack.Decoder[Command] = msgpack.Decoder(Command)
REPLIES: msgpack.Decoder[Reply] = msgpack.Decoder(Reply)
_ENCODER = msgpack.Encoder()


class FrameError(Exception):
    """What came over the connection is no frame, or no message this version understands."""


class FrameTooLarge(FrameError):
    """A frame is longer than the limit."""

    def __init__(self, n_bytes: int, limit: int) -> None:
        super().__init__(f"a frame of {n_bytes} bytes exceeds the limit of {limit} bytes")


def encode(*messages: Any, limit: int = MAX_FRAME_BYTES) -> bytearray:
    """The frames of `messages`, one after the other, to be written at once.

    Raises `FrameTooLarge`.
    """
    buffer = bytearray()
    for message in messages:
        start = len(buffer)
        buffer.extend(bytes(HEADER_BYTES))
        _ENCODER.encode_into(message, buffer, -1)
        n_bytes = len(buffer) - start - HEADER_BYTES
        if n_bytes > limit:
            raise FrameTooLarge(n_bytes, limit)
        buffer[start : start + HEADER_BYTES] = n_bytes.to_bytes(HEADER_BYTES, "big")
    return buffer


class Deframer:
    """Cuts a stream of bytes, as they arrive, into the payloads of its frames."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def n_pending(self) -> int:
        """Bytes of a frame that has not come to its end."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes.

        Raises `FrameTooLarge`; nothing can be read after it.
        """
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            body = start + HEADER_BYTES
            n_bytes = int.from_bytes(buffer[start:body], "big")
            if n_bytes > self._limit:
                raise FrameTooLarge(n_bytes, self._limit)
            if len(buffer) < body + n_bytes:
                break
            start = body + n_bytes
            payloads.append(bytes(buffer[body:start]))
        del buffer[:start]
        return payloads
