"""A client that leaves, at any moment and at every endpoint, ends the work that was done for it."""

import asyncio
import json

import pytest

from aiadmin_core.specs.events import Finished, Started, TextDelta

BODIES = {
    "/v1/chat/completions": {"model": "echo", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "echo", "prompt": "hi"},
}
EVERYWHERE = [(path, stream) for path in BODIES for stream in (False, True)]
LIMIT_S = 60


async def silent(request):
    """In prefill for ever."""
    await asyncio.Event().wait()
    yield Started(request.id, 1)


async def endless(request):
    """Decodes for ever."""
    yield Started(request.id, 1)
    while True:
        yield TextDelta(request.id, "word ")
        await asyncio.sleep(0)


async def connect(server, path, stream) -> asyncio.StreamWriter:
    """Send a request over a connection of its own, and read nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    body = json.dumps(BODIES[path] | {"stream": stream}).encode()
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return writer


@pytest.mark.parametrize(("path", "stream"), EVERYWHERE)
async def test_leaving_while_the_model_loads_gives_the_lease_back(serve, path, stream):
    async with serve() as server, asyncio.timeout(LIMIT_S):
        server.router.loading.clear()
        client = await connect(server, path, stream)
        await server.router.asked.wait()
        client.close()
        await server.router.released.wait()
        assert server.router.n_leases == 0
        assert server.engine.requests == []


@pytest.mark.parametrize("script", [silent, endless])
@pytest.mark.parametrize(("path", "stream"), EVERYWHERE)
async def test_leaving_closes_the_engine_s_iterator(serve, path, stream, script):
    """Before the first event and after it, whether the answer is streamed or collected."""

    async with serve(script=script) as server, asyncio.timeout(LIMIT_S):
        client = await connect(server, path, stream)
        await server.engine.begun.wait()
        client.close()
        await server.engine.closed.wait()
        await server.router.released.wait()
        page = (await server.http.get("/metrics")).text
        assert f'aiadmin_client_disconnects_total{{endpoint="{path}"}} 1.0' in page


async def test_leaving_closes_every_prompt_s_iterator(serve):
    n_closed = 0

    async def counted(request):
        nonlocal n_closed
        try:
            async for event in endless(request):
                yield event
        finally:
            n_closed += 1

    async with serve(script=counted) as server, asyncio.timeout(LIMIT_S):
        asking = asyncio.create_task(server.complete(prompt=["a", "b", "c"]))
        while len(server.engine.requests) < 3:
            await server.engine.begun.wait()
            await asyncio.sleep(0)
        asking.cancel()
        await server.router.released.wait()
        assert n_closed == 3


async def test_a_client_that_stops_reading_stops_the_engine_and_can_leave(serve):
    """The engine's stream waits for the client; leaving while the server waits to write closes it."""
    n_given = 0

    async def torrent(request):
        nonlocal n_given
        for _ in range(2000):
            n_given += 1
            yield TextDelta(request.id, "x" * 32768)
            await asyncio.sleep(0)
        yield Finished(request.id, "stop")

    async with serve(script=torrent) as server, asyncio.timeout(LIMIT_S):
        client = await connect(server, "/v1/chat/completions", True)
        before = -1
        while n_given != before:  # nothing tells of a stream that has stopped but that it does not go on
            before = n_given
            await asyncio.sleep(0.2)
        assert 0 < n_given < 2000
        client.transport.abort()
        await server.engine.closed.wait()


async def test_a_slow_reader_gets_everything(serve):
    async def long(request):
        for number in range(3000):
            yield TextDelta(request.id, f"{number} ")
            await asyncio.sleep(0)
        yield Finished(request.id, "stop")

    async with serve(script=long) as server:
        messages = [{"role": "user", "content": "hi"}]
        stream = await server.openai.chat.completions.create(model="echo", messages=messages, stream=True)
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            await asyncio.sleep(0.001)
        assert text.split() == [str(number) for number in range(3000)]


def test_the_next_request_is_served(serve):
    async def main() -> None:
        async with serve(script=silent) as server, asyncio.timeout(LIMIT_S):
            client = await connect(server, "/v1/chat/completions", True)
            await server.engine.begun.wait()
            client.close()
            await server.engine.closed.wait()
            server.engine.script = lambda request: endless_once(request)
            assert (await server.chat()).status_code == 200

    async def endless_once(request):
        yield Finished(request.id, "stop")

    asyncio.run(main())
