"""What a client may do to a connection before, between and instead of requests: raw bytes to a real server."""

import asyncio
import contextlib
import json
import math
import socket

import pytest

from aiadmin_core.specs.events import Finished, Started, TextDelta
from aiadmin_server.app import Limits
from aiadmin_server.http.protocol import Bounds, keep_alive
from aiadmin_server.settings import Settings

BODY = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi"}]}).encode()


@contextlib.asynccontextmanager
async def connected(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def response(reader):
    """Status, headers and body of the next response that is not an interim one."""
    head = await reader.readuntil(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100 "):
        head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return int(first.split()[1]), headers, body


def post(*headers, body=BODY, version="1.1", path="/v1/chat/completions"):
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


COUNTED = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, BODY[:10], len(BODY) - 10, BODY[10:])


@pytest.mark.parametrize("size", [1, 7, 10**6], ids=["byte by byte", "in sevens", "at once"])
@pytest.mark.parametrize(
    "request_bytes",
    [
        post("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", COUNTED),
        post("Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked", body=CHUNKED),
        post("Connection: upgrade", "Upgrade: TLS/1.2, HTTP/3", COUNTED),
        post("Upgrade: h2c", COUNTED),
        post("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", COUNTED),
    ],
    ids=["h2c, counted", "h2c, chunked", "others", "without Connection", "a WebSocket that nobody serves"],
)
async def test_an_offer_to_switch_protocols_is_ignored_and_the_request_answered(serve, request_bytes, size):
    async with serve() as server, connected(server) as (reader, writer):
        for _ in range(2):  # the connection goes on
            for start in range(0, len(request_bytes), size):
                writer.write(request_bytes[start : start + size])
                if size < 100:
                    await asyncio.sleep(0)
            status, _, body = await response(reader)
            assert status == 200
            assert json.loads(body)["choices"][0]["message"]["content"] == "one two three"


async def test_requests_behind_an_offer_are_answered_in_order(serve):
    async with serve() as server, connected(server) as (reader, writer):
        offer = post("Connection: Upgrade", "Upgrade: h2c", COUNTED)
        writer.write(offer + post(COUNTED, path="/v1/nothing") + offer)
        assert [(await response(reader))[0] for _ in range(3)] == [200, 404, 200]


async def test_http_1_0_is_answered_and_closed(serve):
    async with serve() as server, connected(server) as (reader, writer):
        writer.write(post(COUNTED, version="1.0"))
        status, headers, _ = await response(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "head",
    [
        post(f"X-Long: {'x' * 70_000}", COUNTED),
        post(COUNTED, path="/v1/" + "x" * 70_000),
        post(*(f"X-{number}: 1" for number in range(300)), COUNTED),
    ],
    ids=["a long header", "a long address", "many headers"],
)
@pytest.mark.parametrize("size", [1000, 10**6])
async def test_a_head_that_is_too_large_is_a_431_in_the_envelope_of_its_path(serve, head, size):
    async with serve() as server, connected(server) as (reader, writer):
        for start in range(0, len(head), size):
            writer.write(head[start : start + size])
        status, headers, body = await response(reader)
        assert (status, headers["connection"]) == (431, "close")
        assert json.loads(body)["error"]["code"] == "headers_too_large"
        assert server.engine.requests == []


async def test_a_header_without_an_end_is_refused_before_it_fills_the_memory(serve):
    async with serve() as server, connected(server) as (reader, writer):
        writer.write(b"GET /api/version HTTP/1.1\r\nX-Endless: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"x" * 1000)
                await writer.drain()
        assert (await response(reader))[0] == 431


async def test_a_large_body_is_no_large_head(serve):
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "x" * 500_000}]}).encode()
    async with serve() as server, connected(server) as (reader, writer):
        for _ in range(2):
            writer.write(post(f"Content-Length: {len(body)}", body=body))
            assert (await response(reader))[0] == 200


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELLO\r\n\r\n", b"GET\r\n\r\n"]
)
async def test_what_is_no_http_is_a_400_in_json(serve, nonsense):
    async with serve() as server, connected(server) as (reader, writer):
        writer.write(nonsense)
        status, _, body = await response(reader)
        assert status == 400
        assert json.loads(body)["error"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/version HTTP/1.1\r\nHost: local",
        post("Content-Length: 100", body=b"{"),
        post("Transfer-Encoding: chunked", body=b"5\r\n{"),
    ],
    ids=["in its head", "in its body", "in a chunk"],
)
async def test_a_request_that_pauses_too_long_is_a_408(serve, head):
    async with (
        serve(limits=Limits(bounds=Bounds(head_s=0.1, body_pause_s=0.1))) as server,
        connected(server) as (reader, writer),
        asyncio.timeout(10),
    ):
        writer.write(head)
        status, _, _ = await response(reader)
        assert status == 408
        assert await reader.read() == b""


async def test_a_connection_that_says_nothing_is_closed(serve):
    async with (
        serve(limits=Limits(bounds=Bounds(head_s=0.1))) as server,
        connected(server) as (reader, _),
        asyncio.timeout(10),
    ):
        assert await reader.read() == b""


async def test_a_connection_may_rest_between_two_requests_longer_than_pools_keep_it(serve):
    """Bounds on what is being said do not hold for silence after an answer; only the setting does."""
    assert Settings().idle_connection_s > 300
    async with (
        serve(limits=Limits(bounds=Bounds(head_s=0.05, body_pause_s=0.05))) as server,
        connected(server) as (reader, writer),
        asyncio.timeout(10),
    ):
        writer.write(post(COUNTED))
        assert (await response(reader))[0] == 200
        server.engine.requests.clear()
        await asyncio.sleep(0.3)
        writer.write(post(COUNTED))
        assert (await response(reader))[0] == 200


@pytest.mark.parametrize("rest_s", [0.0, 1.0])
async def test_how_long_a_connection_rests_can_be_set(serve, rest_s):
    async with serve(idle_connection_s=rest_s) as server, connected(server) as (reader, writer), asyncio.timeout(10):
        writer.write(post(COUNTED))
        assert (await response(reader))[0] == 200
        assert await reader.read() == b""


async def test_a_connection_that_rests_for_ever_is_served(serve):
    async with serve(idle_connection_s=math.inf) as server, connected(server) as (reader, writer):
        writer.write(post(COUNTED))
        assert (await response(reader))[0] == 200


async def test_who_waits_for_an_answer_is_not_timed_out(serve):
    going_on = asyncio.Event()

    async def slow(request):
        await going_on.wait()
        yield Started(request.id, 1)
        yield Finished(request.id, "stop")

    async with (
        serve(script=slow, limits=Limits(bounds=Bounds(head_s=0.05, body_pause_s=0.05))) as server,
        connected(server) as (reader, writer),
        asyncio.timeout(10),
    ):
        writer.write(post(COUNTED))
        await server.engine.begun.wait()
        asyncio.get_running_loop().call_later(0.3, going_on.set)
        assert (await response(reader))[0] == 200


async def test_a_client_that_takes_nothing_of_its_answer_loses_it(serve):
    """Suspended, say, with its socket full: it must not hold its model for ever."""

    async def long(request):
        yield Started(request.id, 1)
        for _ in range(1000):
            yield TextDelta(request.id, "x" * 64 * 1024)
            await asyncio.sleep(0)

    body = json.dumps({"model": "echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    async with (
        asyncio.timeout(10),
        serve(script=long, limits=Limits(bounds=Bounds(write_pause_s=0.1))) as server,
        connected(server) as (_, writer),
    ):
        writer.transport.pause_reading()
        writer.write(post(f"Content-Length: {len(body)}", body=body))
        await server.router.released.wait()
        await server.engine.closed.wait()


async def test_a_client_that_reads_slowly_gets_all_of_its_answer(serve):
    async def long(request):
        yield Started(request.id, 1)
        for _ in range(60):
            yield TextDelta(request.id, "x" * 64 * 1024)
        yield Finished(request.id, "stop")

    body = json.dumps({"model": "echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    async with (
        asyncio.timeout(20),
        serve(script=long, limits=Limits(bounds=Bounds(write_pause_s=0.25))) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(post(f"Content-Length: {len(body)}", "Connection: close", body=body))
        taken = b""
        while data := await reader.read(256 * 1024):
            taken = (taken + data)[-100:]
            await asyncio.sleep(0.02)
        assert b"[DONE]" in taken


async def test_with_all_connections_taken_the_one_that_has_rested_longest_makes_room(serve):
    asking = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with (
        asyncio.timeout(10),
        serve(limits=Limits(bounds=Bounds(n_connections=2))) as server,
        connected(server) as (first, to_first),
        connected(server) as (second, to_second),
    ):
        for reader, writer in ((first, to_first), (second, to_second)):
            writer.write(asking)
            assert (await response(reader))[0] == 200
        async with connected(server) as (third, to_third):
            assert await first.read() == b""
            to_third.write(asking)
            assert (await response(third))[0] == 200


async def test_with_all_connections_busy_a_new_one_is_told_so(serve):
    async def endless(request):
        await asyncio.Event().wait()
        yield

    async with (
        asyncio.timeout(10),
        serve(script=endless, limits=Limits(bounds=Bounds(n_connections=1))) as server,
        connected(server) as (_, writer),
    ):
        writer.write(post(COUNTED))
        await server.engine.begun.wait()
        async with connected(server) as (reader, _):
            status, _, body = await response(reader)
            assert status == 503
            assert json.loads(body)["error"]


async def test_who_closes_only_its_half_gets_its_answer(serve):
    going_on = asyncio.Event()

    async def slow(request):
        await going_on.wait()
        yield Started(request.id, 1)
        yield Finished(request.id, "stop")

    async with asyncio.timeout(10), serve(script=slow) as server, connected(server) as (reader, writer):
        writer.write(post(COUNTED))
        writer.write_eof()
        await server.engine.begun.wait()
        asyncio.get_running_loop().call_later(0.3, going_on.set)
        status, headers, _ = await response(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""


@pytest.mark.parametrize("stream", [False, True])
async def test_who_closes_it_whole_frees_its_place(serve, stream):
    async def endless(request):
        await asyncio.Event().wait()
        yield

    body = BODY[:-1] + b', "stream": true}' if stream else BODY
    async with asyncio.timeout(10), serve(script=endless) as server:
        async with connected(server) as (_, writer):
            writer.write(post(f"Content-Length: {len(body)}", body=body))
            await server.engine.begun.wait()
        await server.engine.closed.wait()


def test_connections_on_which_nothing_moves_are_probed():
    """Routers forget them otherwise, and a client without power never says that it is gone."""
    with socket.socket() as connection:
        keep_alive(connection)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_what_is_refused_before_it_is_a_request_is_in_the_request_log(serve, caplog):
    caplog.set_level("INFO", logger="aiadmin.requests")
    async with asyncio.timeout(10), serve() as server:
        async with connected(server) as (reader, writer):
            writer.write(b"no http\r\n\r\n")
            assert (await response(reader))[0] == 400
        async with connected(server) as (reader, writer):
            writer.write(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000 + b"\r\n\r\n")
            assert (await response(reader))[0] == 431
    told = [record.fields for record in caplog.records if record.name == "aiadmin.requests"]
    assert [(one["status"], one["error"]) for one in told] == [(400, "invalid_request"), (431, "headers_too_large")]
    assert told[1]["endpoint"] == "GET /v1/models"
    assert all(one["id"].startswith("req_") for one in told)
