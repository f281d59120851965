"""Connections between a server and a runner, in one process."""

import asyncio
import contextlib
import stat
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aiadmin_core.errors import ModelLoadFailed, RunnerDied
from aiadmin_core.runner import frames, transport
from aiadmin_core.runner.client import RemoteEngine, greet
from aiadmin_core.runner.messages import Cancel, Closed, Events, Heartbeat, Hello, Shutdown
from aiadmin_core.specs.events import TextDelta
from aiadmin_core.specs.model import EngineStats

either = pytest.mark.parametrize("prefer_unix", [True, False], ids=["unix", "tcp"])


@asynccontextmanager
async def connected(*, prefer_unix=True):
    """(the server's connection, the runner's)."""
    async with transport.listen(frames.REPLIES, prefer_unix=prefer_unix) as listener:
        runner = await transport.connect(listener.address, listener.secret, frames.COMMANDS)
        server = await listener.accept()
        yield server, runner
        server.abort()
        runner.abort()


async def raw(address):
    """A peer that speaks no protocol."""
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@either
async def test_messages_go_both_ways_in_order(prefer_unix):
    async with connected(prefer_unix=prefer_unix) as (server, runner):
        server.send(Cancel(1), Cancel(2))
        server.send(Shutdown())
        assert [await runner.receive() for _ in range(3)] == [Cancel(1), Cancel(2), Shutdown()]
        runner.send(Closed(3))
        runner.close()
        assert await server.receive() == Closed(3)
        assert await server.receive() is None
        server.send(Cancel(4))  # nobody is there: no error


@either
async def test_who_does_not_know_the_secret_is_turned_away(prefer_unix):
    async with transport.listen(frames.REPLIES, prefer_unix=prefer_unix) as listener:
        for proof in ("0" * transport.SECRET_BYTES, listener.secret.upper() + "x", "short"):
            reader, writer = await raw(listener.address)
            writer.write(proof.encode())
            if len(proof) < transport.SECRET_BYTES:
                writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        runner = await transport.connect(listener.address, listener.secret, frames.COMMANDS)
        server = await listener.accept()
        server.send(Shutdown())
        assert await runner.receive() == Shutdown()


async def test_only_one_runner_is_let_in():
    async with transport.listen(frames.REPLIES) as listener:
        first = await transport.connect(listener.address, listener.secret, frames.COMMANDS)
        server = await listener.accept()
        second = await transport.connect(listener.address, listener.secret, frames.COMMANDS)
        assert await second.receive() is None
        server.send(Shutdown())
        assert await first.receive() == Shutdown()


@pytest.mark.skipif(not hasattr(asyncio, "open_unix_connection"), reason="no Unix sockets here")
async def test_the_socket_stands_in_a_private_folder_that_goes_away():
    async with transport.listen(frames.REPLIES) as listener:
        folder = Path(listener.address.removeprefix("unix:")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


async def test_a_path_too_long_for_a_socket_means_tcp(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    async with transport.listen(frames.REPLIES) as listener:
        assert listener.address.startswith("tcp:127.0.0.1:")
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize("address", ["", "unix", "ftp:host:1", "tcp:127.0.0.1", "tcp:127.0.0.1:http"])
async def test_what_is_no_address_is_an_error(address):
    with pytest.raises((ValueError, OSError)):
        await transport.connect(address, "0" * transport.SECRET_BYTES, frames.COMMANDS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xff\xff\xff", "exceeds the limit"),
        (b"\x00\x00\x00\x05abc", "ended in the middle of a frame"),
        (b"\x00\x00\x00\x03abc", "cannot be read"),
        (b"\x00\x00\x00\x08\x91\xa6future", "Invalid value"),
        (b"\x00\x00\x00\x0d\x92\xa6events\x91\x93\xa4te\xff", "cannot be read"),
        (b"\x00\x00\x00\x12\x92\xa6events\x91\x93\xa4text\x01\xa1\xff", "cannot be read"),
    ],
    ids=["oversized", "truncated", "no msgpack", "unknown kind", "cut short", "no UTF-8"],
)
async def test_bytes_that_are_no_messages_are_refused(data, message):
    async with transport.listen(frames.REPLIES) as listener:
        _, writer = await raw(listener.address)
        writer.write(listener.secret.encode() + data)
        writer.close()
        server = await listener.accept()
        with pytest.raises(frames.FrameError, match=message):
            await server.receive()


async def test_a_peer_that_does_not_read_stops_who_drains():
    async with connected() as (server, runner):
        sending = 0
        while not runner.is_congested:
            runner.send(Events((TextDelta(1, "x" * 10_000),)))
            sending += 1
        draining = asyncio.create_task(runner.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        for _ in range(sending):
            assert isinstance(await server.receive(), Events)
        await draining


@pytest.mark.parametrize("first", [Hello(version=99), Closed(1)], ids=["another version", "no hello"])
async def test_a_runner_of_another_version_is_not_used(first):
    async with connected() as (server, runner):
        runner.send(first)
        with pytest.raises(ModelLoadFailed, match="does not speak this server's protocol"):
            await greet(server)


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"\xff\xff\xff\xff", "exceeds the limit"),
        (b"\x00\x00\x00\x12\x92\xa6events\x91\x93\xa4text\x01\xa1\xff", "cannot be read"),
    ],
    ids=["oversized", "no UTF-8"],
)
async def test_garbage_from_a_runner_fails_its_requests(ask, garbage, why):
    async with transport.listen(frames.REPLIES) as listener:
        _, writer = await raw(listener.address)
        writer.write(listener.secret.encode() + bytes(frames.encode(Hello())))
        connection = await listener.accept()
        engine = RemoteEngine(connection, await greet(connection))
        closing = asyncio.create_task(engine.close())
        writer.write(garbage)
        await closing
        with pytest.raises(RunnerDied, match=why):
            await anext(engine.generate(ask("anybody?")))


async def test_a_peer_that_proves_nothing_is_turned_away_in_time():
    async with transport.listen(frames.REPLIES, proof_timeout_s=0.05) as listener, asyncio.timeout(10):
        reader, writer = await raw(listener.address)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_messages_are_handed_over_those_that_waited_first():
    async with connected() as (server, runner):
        runner.send(Closed(1), Closed(2), Closed(3))
        assert await server.receive() == Closed(1)  # the others came with it
        taken = asyncio.Queue()
        server.hand_to(taken.put_nowait, taken.put_nowait)
        runner.send(Closed(4))
        runner.close()
        assert [await taken.get() for _ in range(4)] == [Closed(2), Closed(3), Closed(4), None]


async def test_a_receiver_that_fails_ends_the_connection_and_is_told_once():
    def fail(_):
        raise ZeroDivisionError("a mistake of ours")

    async with connected() as (server, runner):
        ends = asyncio.Queue()
        server.hand_to(fail, ends.put_nowait)
        runner.send(Closed(1), Closed(2))
        assert "Closed could not be worked off" in str(await ends.get())
        assert await runner.receive() is None
        assert ends.empty()


async def test_a_heartbeat_that_came_with_the_hello_waits_until_the_engine_is_made():
    async with connected() as (server, runner):
        runner.send(Hello(), Heartbeat(stats=EngineStats(n_steps=3)))
        hello = await greet(server)
        beats = asyncio.Queue()
        engine = RemoteEngine(server, hello, on_heartbeat=beats.put_nowait)
        assert beats.empty()
        assert (await beats.get()).n_steps == engine.stats().n_steps == 3
