"""How a server and its runners reach each other: a Unix socket in a private folder, or loopback TCP where there is
none. Nothing else knows which.

The server listens, once for each runner; the runner connects and proves itself with the secret it was started with.
Addresses are text: `unix:/path/socket`, `tcp:127.0.0.1:1234`.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
import shutil
import socket
import sys
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import msgpack

from . import frames

SECRET_BYTES = 64
"""On the wire: a secret is this many hexadecimal digits."""
UNIX_PATH_BYTES = 100
"""Longest path of a Unix socket that every system takes (macOS: 104 with the final zero)."""
PROOF_TIMEOUT_S = 5.0
"""How long a peer may take to prove itself."""

Incoming = TypeVar("Incoming")

logger = logging.getLogger(__name__)


class Connection(asyncio.Protocol, Generic[Incoming]):
    """Messages both ways over one connection. Used from one event loop.

    What comes in is either asked for (`receive`), or handed over as it arrives (`hand_to`): no task stands between a
    message and whom it is for.
    """

    def __init__(self, decoder: msgpack.Decoder[Incoming]) -> None:
        self._decoder = decoder
        self._deframer = frames.Deframer()
        self._messages: deque[Incoming] = deque()
        self._take: Callable[[Incoming], None] = self._messages.append
        self._on_end: Callable[[frames.FrameError | None], None] = lambda _: None
        self._changed = asyncio.Event()
        """A message has come, or the end."""
        self._writable = asyncio.Event()
        """Cleared while the peer leaves so much unread that asyncio asks to stop."""
        self._writable.set()
        self._ended = False
        self._error: frames.FrameError | None = None
        """What was no message, where that was the end."""

    def send(self, *messages: Any) -> None:
        """Write `messages` in one piece. On a connection that has ended this does nothing: `receive` tells.

        Raises `frames.FrameTooLarge`, with nothing written.
        """
        data = frames.encode(*messages)
        if not self._transport.is_closing():
            self._transport.write(data)

    @property
    def is_congested(self) -> bool:
        """Whether the peer leaves so much unread that senders should `drain` before they make more."""
        return not self._writable.is_set()

    async def drain(self) -> None:
        """Wait while the peer is too slow to take what was sent. Raises `ConnectionError` when it has gone."""
        await self._writable.wait()
        if self._ended:
            raise ConnectionResetError("the connection has ended")

    async def ended(self) -> None:
        """Wait for the end of the connection."""
        while not self._ended:
            self._changed.clear()
            await self._changed.wait()

    async def receive(self) -> Incoming | None:
        """The next message, or None when the connection has ended.

        Raises `frames.FrameError` for bytes that are no message, and for an end in the middle of one.
        """
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._messages.popleft()

    def hand_to(self, take: Callable[[Incoming], None], on_end: Callable[[frames.FrameError | None], None]) -> None:
        """From now on call `take` with each message, those that wait first, and `on_end` once at the end, with what
        `receive` would raise. Where `take` raises, the connection is ended."""
        self._take, self._on_end = take, on_end
        was_over = self._ended
        while self._messages and self._ended is was_over:
            self._hand_over(self._messages.popleft())
        if was_over:
            on_end(self._error)

    def close(self) -> None:
        """Send what is still to be sent, then end the connection."""
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            for payload in self._deframer.feed(data):
                self._hand_over(self._decode(payload))
        except frames.FrameError as error:
            self._end(error)
        self._changed.set()

    def eof_received(self) -> None:
        self._end(self._torn())

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(None if exc else self._torn())

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _hand_over(self, message: Incoming) -> None:
        try:
            self._take(message)
        except Exception as error:
            logger.exception("%s could not be worked off", type(message).__name__)
            self._end(frames.FrameError(f"{type(message).__name__} could not be worked off: {error!r}"))

    def _decode(self, payload: bytes) -> Incoming:
        try:
            return self._decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise frames.FrameError(f"a message cannot be read: {error}") from None

    def _torn(self) -> frames.FrameError | None:
        return frames.FrameError("the connection ended in the middle of a frame") if self._deframer.n_pending else None

    def _end(self, error: frames.FrameError | None) -> None:
        if self._ended:
            return
        self._ended, self._error = True, error
        if error is not None:
            self._transport.abort()
        self._changed.set()
        self._writable.set()
        self._on_end(error)


class Listener(Generic[Incoming]):
    """Waits for the one peer that knows the secret."""

    def __init__(self, decoder: msgpack.Decoder[Incoming], *, proof_timeout_s: float) -> None:
        self.address = ""
        self.secret = secrets.token_hex(SECRET_BYTES // 2)
        self.proof_timeout_s = proof_timeout_s
        self._decoder = decoder
        self._accepted: asyncio.Future[Connection[Incoming]] = asyncio.get_running_loop().create_future()

    async def accept(self) -> Connection[Incoming]:
        """The connection of the first peer that proves itself; the others are turned away."""
        return await asyncio.shield(self._accepted)

    def admit(self, proof: bytes, rest: bytes, transport: asyncio.Transport) -> None:
        """Called for each peer that has said as much as a secret is long; `rest` came with it."""
        if not hmac.compare_digest(proof, self.secret.encode()) or self._accepted.done():
            transport.close()
            return
        connection = Connection(self._decoder)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        self._accepted.set_result(connection)
        if rest:
            connection.data_received(rest)


class _Stranger(asyncio.Protocol):
    """A peer that has connected, until it has proved itself."""

    def __init__(self, listener: Listener[Any]) -> None:
        self._listener = listener
        self._said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(self._listener.proof_timeout_s, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._said += data
        if len(self._said) >= SECRET_BYTES:
            self._patience.cancel()
            self._listener.admit(self._said[:SECRET_BYTES], self._said[SECRET_BYTES:], self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._patience.cancel()


@contextlib.asynccontextmanager
async def listen(
    decoder: msgpack.Decoder[Incoming], *, prefer_unix: bool = True, proof_timeout_s: float = PROOF_TIMEOUT_S
) -> AsyncGenerator[Listener[Incoming], None]:
    """Listen for one runner. The address is gone when the context is left; an accepted connection stays."""
    listener = Listener(decoder, proof_timeout_s=proof_timeout_s)
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
    loop = asyncio.get_running_loop()
    connection = Connection(decoder)
    if scheme == "unix" and sys.platform != "win32":
        transport, _ = await loop.create_unix_connection(lambda: connection, rest)
    elif scheme == "tcp" and port.isdecimal():
        transport, _ = await loop.create_connection(lambda: connection, host, int(port))
    else:
        raise ValueError(f"'{address}' is no address of a runner's server")
    transport.write(secret.encode())
    return connection


async def _serve(listener: Listener[Any], folder: Path | None) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if folder is not None and sys.platform != "win32":
        path = folder / "s"
        server = await loop.create_unix_server(lambda: _Stranger(listener), path)
        listener.address = f"unix:{path}"
    else:
        server = await loop.create_server(lambda: _Stranger(listener), "127.0.0.1", 0)
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
