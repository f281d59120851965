"""How a server and its runners reach each other: a Unix socket in a private folder, or loopback TCP where there is
none. Nothing else knows which.

The server listens, once for each runner; the runner connects and proves itself with the secret it was started with.
Addresses are text: `unix:/path/socket`, `tcp:127.0.0.1:1234`.
"""

import asyncio
import contextlib
import hmac
import secrets
import shutil
import socket
import sys
import tempfile
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import msgpack

from . import frames

SECRET_BYTES = 64
"""On the wire: a secret is this many hexadecimal digits."""
UNIX_PATH_BYTES = 100
"""Longest path of a Unix socket that every system takes (macOS: 104 with the final zero)."""
READ_BYTES = 256 * 1024
CONGESTED_BYTES = 64 * 1024
"""asyncio's own high-water mark, past which `drain` waits."""
PROOF_TIMEOUT_S = 5.0

Incoming = TypeVar("Incoming")


class Connection(Generic[Incoming]):
    """Messages both ways over one connection. Used from one event loop; one task receives."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgpack.Decoder[Incoming]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder
        self._deframer = frames.Deframer()
        self._payloads: deque[bytes] = deque()

    def send(self, *messages: Any) -> None:
        """Write `messages` in one piece. On a connection that has ended this does nothing: `receive` tells.

        Raises `frames.FrameTooLarge`, with nothing written.
        """
        data = frames.encode(*messages)
        if not self._writer.is_closing():
            self._writer.write(data)

    @property
    def is_congested(self) -> bool:
        """Whether the peer leaves so much unread that senders should `drain` before they make more."""
        return self._writer.transport.get_write_buffer_size() > CONGESTED_BYTES

    async def drain(self) -> None:
        """Wait while the peer is too slow to take what was sent. Raises `ConnectionError` when it has gone."""
        await self._writer.drain()

    async def receive(self) -> Incoming | None:
        """The next message, or None when the connection has ended.

        Raises `frames.FrameError` for bytes that are no message, and for an end in the middle of one.
        """
        while not self._payloads:
            try:
                data = await self._reader.read(READ_BYTES)
            except (ConnectionError, TimeoutError):
                return None
            if data:
                self._payloads.extend(self._deframer.feed(data))
            elif self._deframer.n_pending:
                raise frames.FrameError("the connection ended in the middle of a frame")
            else:
                return None
        try:
            return self._decoder.decode(self._payloads.popleft())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise frames.FrameError(f"a message cannot be read: {error}") from None

    def close(self) -> None:
        """Send what is still to be sent, then end the connection."""
        self._writer.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


class Listener(Generic[Incoming]):
    """Waits for the one peer that knows the secret."""

    def __init__(self, decoder: msgpack.Decoder[Incoming]) -> None:
        self.address = ""
        self.secret = secrets.token_hex(SECRET_BYTES // 2)
        self._decoder = decoder
        self._accepted: asyncio.Future[Connection[Incoming]] = asyncio.get_running_loop().create_future()

    async def accept(self) -> Connection[Incoming]:
        """The connection of the first peer that proves itself; the others are turned away."""
        return await asyncio.shield(self._accepted)

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called for each peer that connects."""
        if await self._proves_itself(reader) and not self._accepted.done():
            self._accepted.set_result(Connection(reader, writer, self._decoder))
        else:
            writer.close()

    async def _proves_itself(self, reader: asyncio.StreamReader) -> bool:
        try:
            async with asyncio.timeout(PROOF_TIMEOUT_S):
                proof = await reader.readexactly(SECRET_BYTES)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return False
        return hmac.compare_digest(proof, self.secret.encode())


@contextlib.asynccontextmanager
async def listen(
    decoder: msgpack.Decoder[Incoming], *, prefer_unix: bool = True
) -> AsyncGenerator[Listener[Incoming], None]:
    """Listen for one runner. The address is gone when the context is left; an accepted connection stays."""
    listener = Listener(decoder)
    folder = _private_folder() if prefer_unix else None
    try:
        server = await _serve(listener, folder)
        try:
            yield listener
        finally:
            server.close()  # not wait_closed: from Python 3.12 on it waits for the accepted connection too
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


async def connect(address: str, secret: str, decoder: msgpack.Decoder[Incoming]) -> Connection[Incoming]:
    """Connect to a listener and prove to know its secret. Raises `OSError`, or `ValueError` for no address."""
    scheme, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme == "unix" and sys.platform != "win32":
        reader, writer = await asyncio.open_unix_connection(rest, limit=READ_BYTES)
    elif scheme == "tcp" and port.isdecimal():
        reader, writer = await asyncio.open_connection(host, int(port), limit=READ_BYTES)
    else:
        raise ValueError(f"'{address}' is no address of a runner's server")
    writer.write(secret.encode())
    return Connection(reader, writer, decoder)


async def _serve(listener: Listener[Any], folder: Path | None) -> asyncio.Server:
    if folder is not None and sys.platform != "win32":
        path = folder / "s"
        server = await asyncio.start_unix_server(listener.admit, path, limit=READ_BYTES)
        listener.address = f"unix:{path}"
    else:
        server = await asyncio.start_server(listener.admit, "127.0.0.1", 0, limit=READ_BYTES)
        listener.address = f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}"
    return server


def _private_folder() -> Path | None:
    """A new folder that only this user can enter (mkdtemp makes it 0700), or None where no socket can stand in it."""
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        return None
    folder = Path(tempfile.mkdtemp(prefix="aiadmin-"))
    if len(bytes(folder / "s")) <= UNIX_PATH_BYTES:
        return folder
    folder.rmdir()
    return None
