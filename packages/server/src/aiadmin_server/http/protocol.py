"""One connection: uvicorn's HTTP protocol, with bounds on what a client may make the server keep, and with what HTTP
asks for and uvicorn leaves out. Made by uvicorn for each connection, as `app.uvicorn_config` says.

What is refused here never becomes a request: it is answered in the envelope of the API its path belongs to, and the
connection ends.
"""

import asyncio
import http
import secrets
import socket
from collections.abc import Callable
from typing import Any

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .problem import Problem
from .record import Record

Envelope = Callable[[Problem, str], bytes]
"""A problem, and the path it was met at -> the JSON body that says so."""


PROBE_S = 0.1
"""Between two probes: more than a reset needs on most ways."""
PROBE_SILENT_S = 60
"""Without a packet on a connection, after which TCP probes it."""
_FRAMING = (b"transfer-encoding", b"content-length")


class Bounds(Struct, frozen=True, kw_only=True):
    """How much of the server one client may take before it has asked for anything."""

    head_bytes: int = 64 * 1024
    """Request line and headers together, to within a network packet."""
    n_headers: int = 200
    head_s: float = 60.0
    """From a request's first byte to the end of its headers; also how long a new connection may say nothing."""
    body_pause_s: float = 60.0
    """Between two pieces of a body."""
    write_pause_s: float = 60.0
    """Without a byte of its answer taken, where some wait: a client that was suspended must not hold its model."""
    n_connections: int = 1024
    """Open at once. Past it, the one that has rested longest is closed; where none rests, the new one is refused."""


class HttpConnection(HttpToolsProtocol):
    """See the module. What is refused never reaches `app`."""

    def __init__(self, *arguments: Any, bounds: Bounds, envelope: Envelope, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._bounds = bounds
        self._envelope = envelope
        self._n_heads = 0
        self._n_head_bytes = 0
        self._n_unparsed = 0
        self._refused = False
        self._in_head = True
        """Whether a request's head is awaited, or has begun to come."""
        self._offers_upgrade = False
        self._resumes = False
        """Whether the parser reads our stand-in for headers that were read before."""
        self.heard_at = 0.0
        """When the client last sent something, on the loop's clock."""
        self._watch: asyncio.TimerHandle | None = None
        self._write_watch: asyncio.TimerHandle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        keep_alive(transport.get_extra_info("socket"))
        self.heard_at = self.loop.time()
        if len(self.connections) > self._bounds.n_connections and not self._close_one_that_rests():
            self._refuse(503, "too_many_connections", "The server has all the connections it takes. Try again later.")
            return
        self._watch = self.loop.call_later(self._bounds.head_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for watch in (self._watch, self._write_watch):
            if watch is not None:
                watch.cancel()

    def pause_writing(self) -> None:
        """The client has not taken what was sent, and whoever sends waits."""
        super().pause_writing()
        self._expect_taken(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_watch is not None:
            self._write_watch.cancel()

    def _expect_taken(self, n_left: int) -> None:
        self._write_watch = self.loop.call_later(self._bounds.write_pause_s, self._check_taken, n_left)

    def _check_taken(self, n_before: int) -> None:
        n_left = self.transport.get_write_buffer_size()
        if n_left < n_before:
            self._expect_taken(n_left)  # it is slow, and it reads
        else:
            self.transport.abort()  # what is sent to it fails, as if it had left

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's says nothing, which is False
        """The client sends nothing more. Most have left; one that only closed its half waits for its answer, and is
        told apart by a probe: an interim response, which whoever is gone answers with a reset."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_started or cycle.scope["http_version"] != "1.1":
            return False
        cycle.keep_alive = False
        self._probe(2)
        return True

    def _probe(self, n_left: int) -> None:
        if n_left and not self.transport.is_closing() and not self.cycle.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # the first brings the reset, the next one meets it
            self.loop.call_later(PROBE_S, self._probe, n_left - 1)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self.heard_at = self.loop.time()
        self._unset_keepalive_if_required()
        in_head, n_heads = self._in_head, self._n_heads
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(400, "invalid_request", "This is no HTTP/1.1 request.")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._go_on(data[upgrade.args[0] :])
        else:
            if in_head and n_heads == self._n_heads and not self._refused:
                self._n_unparsed += len(data)  # of a header that has no end, the parser says nothing
                self._check_head()

    def _go_on(self, rest: bytes) -> None:
        """Read the body of a request that offers to switch protocols. The offer may be ignored, the request may not
        (RFC 9110, 7.8; Java's client and `curl --http2` send it with all they ask). llhttp takes what follows such
        headers for the other protocol, so another parser goes on, behind a head that only says how the body is framed.
        """
        framing = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self._offers_upgrade, self._resumes = False, True
        self.data_received(b"POST / HTTP/1.1\r\n" + framing + b"\r\n" + rest)

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        if self._resumes:
            return
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._resumes:
            super().on_url(url)
            self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._resumes:
            self._count(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._resumes:
            self._resumes = False
            return
        self._in_head = False
        self._n_heads += 1
        self._n_unparsed = 0
        self._offers_upgrade = bool(self.parser.should_upgrade()) and not self._should_upgrade()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._offers_upgrade:  # its body is still to come
            return
        self._in_head = True
        self._n_head_bytes = 0
        super().on_message_complete()

    # Bounds.

    def _count(self, n_bytes: int) -> None:
        self._n_head_bytes += n_bytes
        self._check_head()
        if self._refused:
            raise ValueError("the head of a request is too large")  # ends the parser's work on this data

    def _check_head(self) -> None:
        n_bytes, n_headers = max(self._n_head_bytes, self._n_unparsed), len(self.headers or ())
        if n_bytes > self._bounds.head_bytes or n_headers >= self._bounds.n_headers:
            self._refuse(431, "headers_too_large", "The request's address and headers are too large.")

    def _look(self) -> None:
        """Whether the client has kept the server waiting for too long. One that waits itself, or rests between two
        requests (uvicorn sees to that), has all the time."""
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        limit_s = self._bounds.body_pause_s if answering else self._bounds.head_s
        waits = self.cycle.more_body if answering else self.cycle is None or self._has_begun
        silent_s = self.loop.time() - self.heard_at
        if waits and silent_s >= limit_s:
            if not answering and not self._has_begun:
                self.transport.close()  # it has never said a word
            else:
                self._refuse(408, "request_timeout", f"The rest of the request did not come within {limit_s:g} s.")
            return
        self._watch = self.loop.call_later(limit_s - silent_s if waits else limit_s, self._look)

    def _close_one_that_rests(self) -> bool:
        resting = [one for one in self.connections if isinstance(one, HttpConnection) and one is not self and one.rests]
        if not resting:
            return False
        min(resting, key=lambda one: one.heard_at).transport.close()
        return True

    @property
    def _has_begun(self) -> bool:
        """Whether part of a request's head has come."""
        return self._in_head and bool(self._n_head_bytes or self._n_unparsed)

    @property
    def rests(self) -> bool:
        """Whether nothing is asked on it now."""
        return (self.cycle is None or self.cycle.response_complete) and not self._has_begun

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer in place of the app, and end the connection."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()  # an answer is on its way: nothing can be said in the middle of it
            return
        path = self.url.partition(b"?")[0].decode("ascii", "replace") if self.headers is not None else ""
        self._tell(status, code, path)
        body = self._envelope(Problem(status=status, code=code, message=message), path)
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _tell(self, status: int, code: str, path: str) -> None:
        """Let the request log have it: nobody else learns of a request that never became one. Of one that is being
        answered, the line is written when its work has ended."""
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body:
            record = self.cycle.scope.get("state", {}).get("record")
            if record is not None:
                record.error = code
                return
        method = self.parser.get_method().decode("ascii", "replace") if self._has_begun else ""
        Record(id="req_" + secrets.token_hex(12), method=method, endpoint=path, status=status, error=code).tell()


def keep_alive(connection: socket.socket) -> None:
    """Have the system probe a connection on which nothing moves: a whole answer may take minutes, in which routers
    forget who talks to whom, and a client that lost its power says no goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # macOS has another name
    for option, value in ((idle, PROBE_SILENT_S), (getattr(socket, "TCP_KEEPINTVL", None), PROBE_SILENT_S // 4)):
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
