"""Whatever bytes come to the door: no 5xx, no hang, no lost request. Raw sockets against a real server.

`nox -s properties` tries ten thousand, the suite some hundreds.
"""

import contextlib
import gzip
import json
import socket
import zlib
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PATIENCE_S = 10.0
"""How long the server may take over any of it. Far more than it needs."""
IS_LONG = settings().max_examples > 1000

CHAT = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi"}]}).encode()
STREAM = CHAT[:-1] + b', "stream": true}'
GZIPPED = gzip.compress(CHAT)


@pytest.fixture
def port(serve):
    """Of a server that runs on a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve()) as server:
        yield server.port


methods = st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"post", b"BREW", b"QUERY"])
targets = st.one_of(
    st.sampled_from(
        [
            b"/v1/chat/completions",
            b"/v1/chat/completions?x=1",
            b"//v1//chat/completions",
            b"/v1/chat/completions/",
            b"http://localhost/v1/chat/completions",
            b"/v1/models",
            b"/v1/models/%2e%2e%2fetc",
            b"/v1/models/a%00b",
            b"/v1/models/%ff",
            b"/api/ps",
            b"/health",
            b"/metrics",
            b"/",
            b"*",
        ]
    ),
    st.binary(max_size=40).map(lambda path: b"/" + path),
)
versions = st.sampled_from([b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTPP/1.1", b""])
values = st.binary(max_size=30).filter(lambda value: not {10, 13} & {*value})
extras = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
                b"Connection: close",
                b"Connection: keep-alive",
                b"Upgrade: websocket\r\nConnection: upgrade",
                b"Expect: 100-continue",
                b"Origin: http://localhost:3000",
                b"Origin: http://evil.example",
                b"Origin: null",
                b"Accept: text/event-stream",
                b"Accept-Encoding: gzip",
                b"Content-Type: text/plain",
                b"Content-Type: multipart/form-data",
                b"Content-Type: application/json; charset=utf-16",
                b"Cookie: a=b; c",
                b"X-Forwarded-For: 1.2.3.4",
                b"Authorization: Bearer \xff",
                b"Content-Length: 5",
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: gzip",
                b"TE: trailers",
            ]
        ),
        st.tuples(st.sampled_from([b"X-Any", b"Accept-Language", b"User-Agent", b"Priority"]), values).map(b": ".join),
    ),
    max_size=3,
)
hosts = st.sampled_from([b"Host: evil.example", b"Host: ", b"Host: [::1]:1", b""])
bodies = st.one_of(
    st.sampled_from(
        [
            (CHAT, b""),
            (STREAM, b""),
            (b"\xef\xbb\xbf" + CHAT, b""),
            (CHAT.decode().encode("utf-16"), b""),
            (GZIPPED, b"Content-Encoding: gzip"),
            (GZIPPED[:-9], b"Content-Encoding: gzip"),
            (zlib.compress(CHAT), b"Content-Encoding: deflate"),
            (CHAT, b"Content-Encoding: br"),
            (CHAT, b"Content-Encoding: identity"),
            (b"", b""),
            (b"[" * 5000, b""),
            (b'{"model": "echo", "messages": "\xff"}', b""),
            (b'{"model": "\\ud800", "messages": []}', b""),
            (b'{"model": "echo", "messages": [], "n": 1e400}', b""),
        ]
    ),
    st.tuples(st.binary(max_size=60), st.just(b"")),
)
framings = st.sampled_from(["chunked", "chunked", "too long", "too short", "none", "negative", "twice"])
endings = st.sampled_from(["keep", "half", "leave"])


class Case(NamedTuple):
    """A request that the server answers with 200, but for what was changed."""

    method: bytes = b"POST"
    target: bytes = b"/v1/chat/completions"
    version: bytes = b"HTTP/1.1"
    host: bytes = b"Host: localhost"
    extras: list[bytes] = []
    body: tuple[bytes, bytes] = (CHAT, b"")
    framing: str = "counted"
    ending: str = "keep"
    cuts: list[int] = []


ODD = {
    "method": methods,
    "target": targets,
    "version": versions,
    "host": hosts,
    "extras": extras,
    "body": bodies,
    "framing": framings,
    "ending": endings,
    "cuts": st.lists(st.integers(0, 400), max_size=3),
}


@st.composite
def cases(draw):
    """Up to three things are odd."""
    changed = draw(st.sets(st.sampled_from(sorted(ODD)), max_size=3))
    return Case(**{name: draw(ODD[name]) for name in sorted(changed)})


def framed(body, framing):
    """Header lines and the body as sent."""
    n = b"%d" % len(body)
    match framing:
        case "counted":
            return [b"Content-Length: " + n], body
        case "chunked":
            cut = len(body) // 2
            pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
            return [b"Transfer-Encoding: chunked"], b"".join(
                b"%x\r\n%b\r\n" % (len(p), p) for p in pieces
            ) + b"0\r\n\r\n"
        case "too long":
            return [b"Content-Length: " + n], body + b"surplus"
        case "too short":
            return [b"Content-Length: %d" % (len(body) + 3)], body
        case "negative":
            return [b"Content-Length: -1"], body
        case "twice":
            return [b"Content-Length: " + n, b"Content-Length: 3"], body
    return [], body


@settings(
    max_examples=10_000 if IS_LONG else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cases())
def test_no_bytes_cost_a_5xx_a_hang_or_somebody_elses_request(port, case):
    lines, sent = framed(case.body[0], case.framing)
    first = b" ".join([case.method, case.target, case.version])
    head = [first, *filter(None, [case.host, *case.extras, *lines, case.body[1]])]
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        send(connection, b"\r\n".join(head) + b"\r\n\r\n" + sent, case.cuts)
        if case.ending == "half":
            finish(connection)
        if case.ending != "leave":
            status = first_status(connection, wait=is_whole(case))
            assert status is None or status < 500, status
            if is_whole(case):
                assert status is not None, "the request is lost"
    assert ask(port) == 200


def is_whole(case):
    """Whether the server has all of a request that HTTP obliges it to answer."""
    odd = (b"Content-Length", b"Transfer-Encoding", b"Expect", b"websocket")
    framed_well = case.framing in ("counted", "chunked") and not any(
        part in extra for extra in case.extras for part in odd
    )
    return framed_well and (case.method, case.version) == (b"POST", b"HTTP/1.1") and case.target.startswith(b"/v1/chat")


def send(connection, data, cuts):
    """`data`, cut where `cuts` say."""
    position = 0
    try:
        for cut in sorted(cuts):
            connection.sendall(data[position:cut])
            position = max(position, cut)
        connection.sendall(data[position:])
    except ConnectionError:  # refused before it was all there
        pass


def finish(connection):
    with contextlib.suppress(OSError):  # it has been closed
        connection.shutdown(socket.SHUT_WR)


def first_status(connection, *, wait):
    """The status of the first response that is not an interim one, None where none comes; unless `wait`, at once."""
    connection.settimeout(PATIENCE_S if wait else 0.05)
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and head.startswith(b"HTTP/1.1 100"):
            data = rest
            continue
        if end:
            return int(head.split(b" ", 2)[1])
        try:
            more = connection.recv(65536)
        except TimeoutError:
            assert not wait, "the request hangs"
            return None
        except ConnectionError:
            return None
        if not more:
            return None
        data += more


def ask(port):
    """The status of an ordinary request."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(CHAT)}\r\n\r\n"
        connection.sendall(head.encode() + CHAT)
        return first_status(connection, wait=True)
