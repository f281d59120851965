"""A request's body as bytes: received within bounds, decoded from what it was sent in. Used by `reading`."""

import contextlib
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from aiadmin_core.errors import AiAdminError, BadRequest, Overloaded

from .errors import ClientLeft

ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Content encodings that are read, each with what zlib calls it."""
BOM = b"\xef\xbb\xbf"


class BodyTooLarge(AiAdminError):
    """More than the server reads of one request."""

    code, status = "request_too_large", 413


class UnsupportedEncoding(AiAdminError):
    """The body came in an encoding that is not read here."""

    code, status = "unsupported_encoding", 415

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"The body's Content-Encoding '{encoding[:100]}' is not read here.",
            hint="Send it as it is, or with gzip or deflate.",
        )


class Intake:
    """How many bytes of bodies are in memory, of all requests that are still being read. One per app, on its loop."""

    def __init__(self, *, body_bytes: int, total_bytes: int) -> None:
        self.body_bytes = body_bytes
        """Most of one body, before and after it is decoded."""
        self.total_bytes = total_bytes
        self.n_bytes = 0

    @contextlib.asynccontextmanager
    async def receive(self, request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
        """The body as it was sent; it counts until the context is left.

        Raises `BodyTooLarge`, `Overloaded` where others' bodies take the room, and `ClientLeft`.
        """
        body = bytearray()
        try:
            async for piece in request.stream():
                self.n_bytes += len(piece)
                body += piece
                if len(body) > self.body_bytes:
                    raise self.too_large()
                if self.n_bytes > self.total_bytes and len(body) < self.n_bytes:
                    raise Overloaded("The server is reading as many large requests as it has room for.")
            yield bytes(body)
        except InternalServerException:  # all that Litestar raises here by this name
            raise ClientLeft("The client left before it had sent its request.") from None
        finally:
            self.n_bytes -= len(body)

    def too_large(self) -> BodyTooLarge:
        """The error of a body over the limit."""
        return BodyTooLarge(f"The request body is too large: at most {self.body_bytes >> 20} MiB are read.")


def encoding_of(request: Request[Any, Any, Any]) -> str:
    """The one encoding the body was sent in, "" where it came as it is. Raises `UnsupportedEncoding`."""
    header = request.headers.get("content-encoding", "")
    named = [name for name in (part.strip().lower() for part in header.split(",")) if name not in ("", "identity")]
    if len(named) > 1 or (named and named[0] not in ENCODINGS):
        raise UnsupportedEncoding(header)
    return named[0] if named else ""


def decompressed(body: bytes, encoding: str, intake: Intake) -> bytes:
    """`body` as it was before it was encoded. Pure. Raises `BadRequest`, or `BodyTooLarge` for what would become so."""
    try:
        pieces, size = [], 0
        for piece in _inflated(body, encoding):
            size += len(piece)
            if size > intake.body_bytes:
                raise intake.too_large()
            pieces.append(piece)
    except zlib.error as error:
        raise BadRequest(f"The body is not what its Content-Encoding '{encoding}' says: {error}.") from None
    return b"".join(pieces)


def _inflated(body: bytes, encoding: str) -> Iterator[bytes]:
    """Pieces of a limited size, so that a small body cannot fill the memory. A gzip file may have several members; what
    some clients call deflate has no zlib header."""
    raw = encoding == "deflate" and not _has_zlib_header(body)
    while body:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS if raw else ENCODINGS[encoding])
        while body and not inflating.eof:
            yield inflating.decompress(body, _PIECE_BYTES)
            body = inflating.unconsumed_tail
        while not inflating.eof and (rest := inflating.decompress(inflating.unconsumed_tail, _PIECE_BYTES)):
            yield rest
        if not inflating.eof:
            raise zlib.error("it ends too early")
        body = inflating.unused_data if encoding != "deflate" else b""


def _has_zlib_header(body: bytes) -> bool:
    """RFC 1950, 2.2: method 8, and a checksum over the first two bytes."""
    return len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


_PIECE_BYTES = 1 << 20
