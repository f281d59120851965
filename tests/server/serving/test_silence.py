"""A stream that has nothing to say yet says so: clients and proxies give up on connections that are silent."""

import asyncio
import contextlib
import json

import pytest

from aiadmin_core.errors import ContextLengthExceeded, ModelLoadFailed, Overloaded
from aiadmin_core.specs.events import Finished, Started, TextDelta
from aiadmin_server.app import LIMITS, Limits

HASTY = Limits(headers_s=0.05, ping_s=0.02)
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "stream": True}
BODIES = {"/v1/chat/completions": CHAT, "/v1/completions": {"model": "echo", "prompt": "hi", "stream": True}}


class Reading:
    """A prompt that is read until a test says so."""

    def __init__(self, error=None):
        self.may_begin = asyncio.Event()
        self.error = error

    async def __call__(self, request):
        await self.may_begin.wait()
        if self.error:
            raise self.error
        yield Started(request.id, 1)
        yield TextDelta(request.id, "read")
        yield Finished(request.id, "stop")


@contextlib.asynccontextmanager
async def streamed(server, path="/v1/chat/completions", **fields):
    """The response as soon as its headers are there, and its pieces."""
    async with server.http.stream("POST", path, json=BODIES[path] | fields) as response, asyncio.timeout(30):
        yield response, response.aiter_text()


async def pings(pieces, n):
    """Wait for so many, and for nothing else."""
    text = ""
    while text.count(": ping\n\n") < n:
        text += await anext(pieces)
    assert text.replace(": ping\n\n", "") == ""


async def rest(pieces):
    return "".join([piece async for piece in pieces])


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_begins_while_the_model_loads(serve, path):
    async with serve(limits=HASTY) as server:
        server.router.loading.clear()
        async with streamed(server, path) as (response, pieces):
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["x-request-id"]
            await pings(pieces, 3)
            assert server.engine.requests == []
            server.router.loading.set()
            text = await rest(pieces)
        assert '"one two three"' in text
        assert '"system_fingerprint":"fp_' in text
        assert text.endswith("data: [DONE]\n\n")


async def test_a_stream_begins_while_its_prompt_is_read(serve):
    reading = Reading()
    async with serve(script=reading, limits=HASTY) as server, streamed(server) as (response, pieces):
        assert response.status_code == 200
        await pings(pieces, 3)
        reading.may_begin.set()
        assert '"read"' in await rest(pieces)


async def test_nothing_is_sent_early_where_the_first_word_comes_soon(serve):
    async with serve(limits=Limits(headers_s=30, ping_s=0.01)) as server:
        assert (await server.chat(stream=True)).text.startswith("data: ")


@pytest.mark.parametrize("error", [ContextLengthExceeded(n_prompt=9, n_ctx=8), ZeroDivisionError("secret")])
async def test_an_error_after_that_is_the_streams_last_frame(serve, error):
    """In the envelope of the API that was called; the tokens that were to be counted are none."""
    reading = Reading(error)
    async with serve(script=reading, limits=HASTY) as server, streamed(server) as (response, pieces):
        await pings(pieces, 1)
        reading.may_begin.set()
        *_, last = [line for line in (await rest(pieces)).split("\n") if line.startswith("data:")]
        assert response.status_code == 200
        told = json.loads(last.removeprefix("data:"))["error"]
        assert told["code"] == ("internal_error" if isinstance(error, ZeroDivisionError) else "context_length_exceeded")
        assert "secret" not in told["message"]


async def test_a_model_that_cannot_be_loaded_after_all_is_told_in_the_stream(serve):
    async with serve(limits=HASTY) as server:
        loading = asyncio.Event()

        async def wait():
            await loading.wait()
            raise ModelLoadFailed("Its file is cut off.")

        server.router.loading.wait = wait
        async with streamed(server) as (response, pieces):
            assert response.status_code == 200
            loading.set()
            text = await rest(pieces)
        assert '"code":"model_load_failed"' in text
        assert "[DONE]" not in text


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [({"model": "missing"}, None, 404), ({"top_p": 7}, None, 400), ({}, Overloaded("512 requests are waiting."), 503)],
)
async def test_what_fails_at_once_keeps_its_status(serve, fields, error, status):
    async with serve(script=Reading(error)) as server:
        server.engine.script.may_begin.set()
        response = await server.chat(stream=True, **fields)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"


async def test_what_is_left_out_is_named_in_headers_that_come_early_too(serve):
    async with serve(limits=HASTY) as server:
        server.router.loading.clear()
        async with streamed(server, nobody_knows=1) as (response, _):
            assert response.headers["x-ignored-params"] == "nobody_knows"


async def test_a_whole_answer_waits_for_its_status(serve):
    async with serve(limits=HASTY) as server:
        server.router.loading.clear()
        asking = asyncio.create_task(server.chat())
        await server.router.asked.wait()
        await asyncio.sleep(4 * HASTY.headers_s)  # nothing can be awaited that does not happen
        server.router.loading.set()
        response = await asking
        assert response.status_code == 200
        assert response.json()["choices"]


async def test_leaving_a_stream_that_only_pings_gives_everything_back(serve):
    async with serve(limits=HASTY) as server, asyncio.timeout(30):
        server.router.loading.clear()
        async with streamed(server) as (_, pieces):
            await pings(pieces, 2)
        await server.router.released.wait()
        assert server.router.n_leases == 0


async def test_a_server_that_ends_tells_streams_that_only_ping(serve):
    limits = Limits(headers_s=0.05, ping_s=0.02, shutdown_s=0.2)
    async with serve(limits=limits) as server:
        server.router.loading.clear()
        async with streamed(server) as (_, pieces):
            await pings(pieces, 1)
            server.stop()
            assert '"code":"shutting_down"' in await rest(pieces)


def test_the_usual_wait_is_a_second_or_two():
    assert 1 <= LIMITS.headers_s <= 2
    assert LIMITS.ping_s < 30  # what the strictest of the usual proxies allows
