"""The runner's end, in this process: what it does with an engine's batches."""

import asyncio
import contextlib

from aiadmin_core.runner import frames, transport
from aiadmin_core.runner.client import RemoteEngine
from aiadmin_core.runner.host import Host
from aiadmin_core.runner.messages import Closed, Events, Generate, Hello, UseThreads
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Finished, TextDelta
from aiadmin_core.specs.model import EngineStats, ModelFacts


class StepEngine:
    """Hands over batches, as many steps as it is told to give."""

    capabilities = Capabilities(protocols=frozenset({"threads"}))
    facts = ModelFacts()

    def __init__(self, steps):
        self.steps = steps
        self.told = asyncio.Queue()
        self.use_threads = self.told.put_nowait
        self.given = asyncio.Event()

    async def generate_into(self, request, sink):
        for step in self.steps:
            sink(step)
        self.given.set()

    def stats(self):
        return EngineStats()

    async def close(self):
        pass


@contextlib.asynccontextmanager
async def served_by(engine):
    """(the host, what gives the frames that it has sent so far). Nothing of them is read before."""
    peers = asyncio.Queue()
    server = await asyncio.start_server(lambda *peer: peers.put_nowait(peer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = await transport.connect(f"tcp:127.0.0.1:{port}", "0" * transport.SECRET_BYTES, frames.COMMANDS)
    reader, writer = await peers.get()
    await reader.readexactly(transport.SECRET_BYTES)
    host = Host(connection)
    receiving = asyncio.create_task(host.receive())
    host.serve(engine, backend="steps")

    async def replies():
        deframer = frames.Deframer()
        while data := await reader.read(1 << 20):
            for payload in deframer.feed(data):
                yield frames.REPLIES.decode(payload)

    try:
        yield writer, replies()
    finally:
        writer.close()
        await receiving
        await host.close()
        server.close()


async def until_closed(replies):
    found = []
    async for reply in replies:
        if isinstance(reply, Closed):
            return found
        if isinstance(reply, Events):
            found.append(reply.events)
    raise AssertionError("the connection ended first")


async def test_what_a_step_gave_leaves_in_a_frame_of_its_own(ask):
    steps = [(TextDelta(1, "a"), TextDelta(2, "b")), (TextDelta(1, "c"), Finished(1, "stop"))]
    async with served_by(StepEngine(steps)) as (writer, replies), asyncio.timeout(10):
        writer.write(frames.encode(Generate(ask("go", id=1))))
        assert await until_closed(replies) == steps


async def test_while_the_server_does_not_read_its_text_waits_joined(ask):
    """The engine goes on: what is kept for a slow server is text, not an event for each token."""
    n_steps = 20_000
    steps = [(TextDelta(1, f"{number:>500} "),) for number in range(n_steps)]
    engine = StepEngine(steps)
    async with served_by(engine) as (writer, replies), asyncio.timeout(30):
        writer.write(frames.encode(Generate(ask("go", id=1))))
        await engine.given.wait()
        batches = await until_closed(replies)
        text = "".join(event.text for events in batches for event in events)
        assert text.split() == [str(number) for number in range(n_steps)]
        assert sum(map(len, batches)) < n_steps / 2


async def test_a_share_of_the_cores_reaches_the_engine():
    engine = StepEngine([])
    async with served_by(engine) as (writer, _):
        writer.write(frames.encode(UseThreads(3), UseThreads(0)))
        assert [await engine.told.get() for _ in range(2)] == [3, 1]


async def test_what_computes_nothing_here_is_told_nothing():
    async with transport.listen(frames.REPLIES) as listener:
        runner = await transport.connect(listener.address, listener.secret, frames.COMMANDS)
        server = await listener.accept()
        for protocols in (frozenset(), frozenset({"threads"})):
            RemoteEngine(server, Hello(capabilities=Capabilities(protocols=protocols))).use_threads(len(protocols))
        assert await runner.receive() == UseThreads(1)
        runner.close()
        server.close()


async def test_work_is_told_when_it_begins_and_when_it_ends(ask):
    told = []
    async with transport.listen(frames.REPLIES) as listener:
        runner = await transport.connect(listener.address, listener.secret, frames.COMMANDS)
        engine = RemoteEngine(await listener.accept(), Hello(), on_work=told.append)
        streams = [aiter(engine.generate(ask("hello"))) for _ in range(2)]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        ids = [(await runner.receive()).request.id for _ in streams]
        assert told == [True]
        for request_id in ids:
            runner.send(Events((TextDelta(request_id, "x"),)))
        await asyncio.gather(*waiting)
        await streams[0].aclose()
        assert told == [True]
        await streams[1].aclose()
        assert told == [True, False]
        runner.close()
