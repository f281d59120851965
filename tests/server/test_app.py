"""How the server is put together and run: what it imports, where it listens, how it ends."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys

import pytest

from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.events import Started, TextDelta
from aiadmin_server.app import Limits, PortInUse, bind
from aiadmin_server.settings import Settings


def test_importing_the_app_loads_no_native_library():
    heavy = "llama_cpp", "mlx", "mlx_lm", "numpy", "llguidance", "jinja2"
    code = f"import sys, aiadmin_server.app; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_port_0_takes_a_free_port():
    with contextlib.closing(bind(Settings(port=0))) as first, contextlib.closing(bind(Settings(port=0))) as second:
        assert 0 < first.getsockname()[1] != second.getsockname()[1]


def test_a_port_in_use_is_said_in_words():
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)) as caught:
            bind(Settings(port=port))
        assert "AIADMIN_HOST" in caught.value.hint


@pytest.mark.parametrize("host", ["nothing.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_said_in_words(host):
    with pytest.raises(AiAdminError, match="Cannot listen"):
        bind(Settings(host=host, port=0))


def test_ipv6_is_served(serve):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = bind(Settings(host="::1", port=0))
    except AiAdminError:
        pytest.skip("this machine has no IPv6 address of its own")
    with contextlib.closing(listener):
        assert listener.family == socket.AF_INET6


def test_the_router_is_closed_with_the_app(serve):
    async def main() -> None:
        async with serve() as server:
            pass
        assert server.router.closed

    asyncio.run(main())


def test_a_stream_that_will_not_end_does_not_hold_the_server_up(serve):
    limits = Limits(shutdown_s=0.2)

    async def endless(request):
        yield Started(request.id, 1)
        while True:
            yield TextDelta(request.id, "word ")
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with asyncio.timeout(10):
            async with serve(script=endless, limits=limits) as server:
                asking = asyncio.create_task(server.chat())
                await server.engine.begun.wait()
            assert server.engine.closed.is_set()
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_outlasts_the_server_is_told_so(serve, caplog, stream):
    """A stream ends with an error, and what had not begun is 503; nothing is logged with a traceback."""
    limits = Limits(shutdown_s=0.2)

    async def endless(request):
        yield Started(request.id, 1)
        while True:
            yield TextDelta(request.id, "word ")
            await asyncio.sleep(0.01)

    async def main() -> str:
        async with asyncio.timeout(10), serve(script=endless, limits=limits) as server:
            asking = asyncio.create_task(server.chat(stream=stream))
            await server.engine.begun.wait()
            server.stop()
            answer = await asking
            assert answer.status_code == (200 if stream else 503)
            return answer.text

    last = asyncio.run(main()).strip().rpartition("\n")[2]

    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["message"], error["code"]) == (
        "The server is shutting down. Try again when it is back.",
        "shutting_down",
    )
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_server_that_is_told_to_end_does_not_wait_for_its_clock(serve, monkeypatch):
    monkeypatch.setattr("aiadmin_server.app.TICK_S", 3600)
    async with asyncio.timeout(10), serve() as server:
        first = (await server.http.get("/health")).headers["date"]
        assert first
        await asyncio.to_thread(server.stop)  # as a signal handler or another thread would
