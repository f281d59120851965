"""Bodies: what they may be sent in, how large they may be, and what reading one costs the others."""

import asyncio
import gzip
import json
import zlib

import pytest

from aiadmin_core.specs.events import Finished, Started, TextDelta
from aiadmin_server.app import Limits

CHAT = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi, über"}]}, ensure_ascii=False).encode()


def raw_deflate(body):
    compressing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressing.compress(body) + compressing.flush()


async def post(server, body, encoding=None):
    headers = {"content-encoding": encoding} if encoding else {}
    return await server.http.post("/v1/chat/completions", content=body, headers=headers)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (None, CHAT),
        (None, b"\xef\xbb\xbf" + CHAT),
        ("identity", CHAT),
        ("", CHAT),
        ("gzip", gzip.compress(CHAT, mtime=0)),
        ("GZIP", gzip.compress(CHAT, mtime=0)),
        ("x-gzip", gzip.compress(CHAT, mtime=0)),
        ("gzip, identity", gzip.compress(CHAT, mtime=0)),
        ("gzip", gzip.compress(CHAT[:20], mtime=0) + gzip.compress(CHAT[20:], mtime=0)),
        ("gzip", gzip.compress(b"\xef\xbb\xbf" + CHAT, mtime=0)),
        ("deflate", zlib.compress(CHAT)),
        ("deflate", raw_deflate(CHAT)),
    ],
)
async def test_a_body_is_read_in_each_encoding_that_is_offered(serve, encoding, body):
    async with serve() as server:
        response = await post(server, body, encoding)
        assert response.status_code == 200, response.text
        assert server.engine.request.messages[0].content[0].text == "hi, über"


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip", "aes128gcm"])
async def test_an_encoding_that_is_not_read_is_named(serve, encoding):
    async with serve() as server:
        response = await post(server, CHAT, encoding)
        assert response.status_code == 415
        assert encoding in response.json()["error"]["message"]
        assert "gzip" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", CHAT),
        ("gzip", gzip.compress(CHAT, mtime=0)[:-12]),
        ("gzip", gzip.compress(CHAT, mtime=0) + b"surplus"),
        ("gzip", gzip.compress(CHAT, mtime=0)[:-8] + bytes(8)),
        ("deflate", b"\xff" * 30),
        ("deflate", zlib.compress(CHAT)[:-6]),
    ],
)
async def test_what_is_not_what_its_encoding_says_is_a_400(serve, encoding, body):
    async with serve() as server:
        response = await post(server, body, encoding)
        assert response.status_code == 400
        assert encoding in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [CHAT.decode().encode("utf-16"), CHAT.decode().encode("utf-16-le"), CHAT.decode().encode("latin-1")],
    ids=["utf-16", "utf-16 without a mark", "latin-1"],
)
async def test_what_is_not_utf_8_is_told_so(serve, body):
    async with serve() as server:
        response = await post(server, body)
        assert response.status_code == 400
        assert "UTF-8" in response.json()["error"]["message"]


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
async def test_the_size_limit_holds_after_decoding(serve, encoding):
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "x" * 3_000_000}]}).encode()
    pack = {None: bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    async with serve(limits=Limits(max_body_bytes=2 << 20)) as server:
        response = await post(server, pack(body), encoding)
        assert response.status_code == 413
        assert "2 MiB" in response.json()["error"]["message"]
        assert server.engine.requests == []


async def test_a_body_of_too_many_values_is_refused(serve):
    body = json.dumps({"model": "echo", "prompt": [1] * 1_100_000}).encode()
    async with serve() as server:
        response = await server.http.post("/v1/completions", content=body)
        assert response.status_code == 413
        assert "1,000,000 values" in response.json()["error"]["message"]


async def test_who_finds_no_room_for_a_body_is_told_to_come_back(serve):
    first_piece = asyncio.Event()
    go_on = asyncio.Event()

    async def slow_body():
        yield b" " * 900_000
        first_piece.set()
        await go_on.wait()
        yield CHAT

    async with serve(limits=Limits(max_body_bytes=1 << 20, total_body_bytes=1_000_000)) as server:
        slow = asyncio.create_task(server.http.post("/v1/chat/completions", content=slow_body()))
        await first_piece.wait()
        while (await post(server, b" " * 200_000 + CHAT)).status_code != 503:
            pass  # the first body is still on its way in
        go_on.set()
        assert (await slow).status_code == 200
        assert (await post(server, b" " * 200_000 + CHAT)).status_code == 200


async def test_streams_go_on_while_a_large_body_is_read(serve):
    """Ten megabytes of small messages: a second of work that must not be the event loop's."""
    message = {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "somebody"}
    body = json.dumps({"model": "echo", "messages": [message] * 100_000}).encode()
    read = asyncio.Event()
    n_pieces = 0

    async def script(request):
        yield Started(request.id, 1)
        while len(request.messages) == 1 and not read.is_set():
            yield TextDelta(request.id, "word ")
            await asyncio.sleep(0)
        yield Finished(request.id, "stop")

    streaming = CHAT[:-1] + b', "stream": true}'
    async with serve(script=script) as server:
        async with server.http.stream("POST", "/v1/chat/completions", content=streaming) as stream:
            pieces = stream.aiter_bytes()
            await anext(pieces)
            asking = asyncio.create_task(post(server, body))
            asking.add_done_callback(lambda _: read.set())
            async for _ in pieces:
                n_pieces += 1
        assert (await asking).status_code == 200
    assert n_pieces > 20  # on the event loop it would be two or three
