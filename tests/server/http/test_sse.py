"""Batches, frames and disconnects, without a server."""

import asyncio

import msgspec
import pytest

from aiadmin_core.errors import PluginError
from aiadmin_server.http import sse


class Item(msgspec.Struct):
    number: int


async def collected(stream, idle_s=5.0):
    return [batch async for batch in sse.batches(stream, idle_s=idle_s)]


def test_frames_are_data_lines():
    assert sse.frames([Item(1), Item(2)]) == b'data: {"number":1}\n\ndata: {"number":2}\n\n'
    assert sse.frames([]) == b""


def test_what_is_there_together_is_one_batch():
    async def stream():
        for number in range(5):
            yield number

    assert asyncio.run(collected(stream())) == [[0, 1, 2, 3, 4]]


def test_what_comes_before_an_error_is_given_before_it_is_raised():
    async def stream():
        yield 1
        raise ZeroDivisionError

    async def main() -> None:
        batches = sse.batches(stream(), idle_s=5)
        assert await anext(batches) == [1]
        with pytest.raises(ZeroDivisionError):
            await anext(batches)

    asyncio.run(main())


def test_silence_gives_empty_batches():
    async def main() -> None:
        gate = asyncio.Event()

        async def stream():
            await gate.wait()
            yield 1

        batches = sse.batches(stream(), idle_s=0.01)
        assert await anext(batches) == []
        gate.set()
        assert [batch async for batch in batches if batch] == [[1]]

    asyncio.run(main())


def test_closing_the_batches_closes_the_stream_wherever_it_waits():
    async def main() -> None:
        closed = asyncio.Event()

        async def stream():
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                closed.set()

        batches = sse.batches(stream(), idle_s=5)
        await anext(batches)
        await batches.aclose()
        assert closed.is_set()

    asyncio.run(main())


def test_a_reader_that_does_not_read_holds_the_stream_back():
    async def main() -> None:
        n_given = 0

        async def stream():
            nonlocal n_given
            while True:
                n_given += 1
                yield n_given

        batches = sse.batches(stream(), idle_s=5)
        await anext(batches)
        for _ in range(10):
            await asyncio.sleep(0)
        assert n_given <= 2 * sse.N_WAITING + 2
        await batches.aclose()

    asyncio.run(main())


def test_work_is_done_while_the_client_listens():
    async def main() -> None:
        done = []

        async def receive():
            await asyncio.Event().wait()

        async def work():
            done.append(True)

        assert await sse.while_connected(receive, work())
        assert done

    asyncio.run(main())


def test_work_is_cancelled_when_the_client_leaves():
    async def main() -> None:
        cancelled = asyncio.Event()
        messages = iter(["http.request", "http.disconnect"])

        async def receive():
            await asyncio.sleep(0)
            return {"type": next(messages)}

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        assert not await sse.while_connected(receive, work())
        assert cancelled.is_set()

    asyncio.run(main())


def test_what_work_raises_is_raised():
    async def listening():
        await asyncio.Event().wait()

    async def failing():
        raise ZeroDivisionError

    async def cancelled():
        raise asyncio.CancelledError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(sse.while_connected(listening, failing()))
    with pytest.raises(PluginError):
        asyncio.run(sse.while_connected(listening, cancelled()))


def test_cancelling_the_request_cancels_its_work():
    async def main() -> None:
        ended = asyncio.Event()

        async def listening():
            await asyncio.Event().wait()

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.create_task(sse.while_connected(listening, work()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())
