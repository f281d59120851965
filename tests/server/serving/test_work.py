"""Calls being carried out: batches, failures and closing, without a server."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from aiadmin_core.errors import PluginError
from aiadmin_server.serving.work import N_WAITING, Work


def work_on(stream) -> Work:
    @contextlib.asynccontextmanager
    async def opening(work):
        async with contextlib.aclosing(stream):
            yield SimpleNamespace(events=stream)

    return Work(opening)


async def endless():
    number = 0
    while True:
        number += 1
        yield number


async def test_what_is_there_together_is_one_batch():
    async def stream():
        for number in range(5):
            yield number

    assert [batch async for batch in work_on(stream()).batches(idle_s=5)] == [[0, 1, 2, 3, 4]]


async def test_what_comes_before_an_error_is_given_before_it_is_raised():
    async def stream():
        yield 1
        raise ZeroDivisionError

    batches = work_on(stream()).batches(idle_s=5)
    assert await anext(batches) == [1]
    with pytest.raises(ZeroDivisionError):
        await anext(batches)


async def test_what_keeps_it_from_opening_is_raised_to_who_asks():
    @contextlib.asynccontextmanager
    async def opening(work):
        raise ZeroDivisionError
        yield

    work = Work(opening)
    with pytest.raises(ZeroDivisionError):
        await work.opened()
    await work.close()


async def test_a_stream_that_cancels_itself_has_failed():
    async def stream():
        yield 1
        raise asyncio.CancelledError

    batches = work_on(stream()).batches()
    assert await anext(batches) == [1]
    with pytest.raises(PluginError):
        await anext(batches)


async def test_silence_gives_empty_batches():
    gate = asyncio.Event()

    async def stream():
        await gate.wait()
        yield 1

    batches = work_on(stream()).batches(idle_s=0.01)
    assert await anext(batches) == []
    gate.set()
    assert [batch async for batch in batches if batch] == [[1]]


async def test_closing_closes_the_stream_wherever_it_waits():
    closed = asyncio.Event()

    async def stream():
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    work = work_on(stream())
    await anext(work.batches())
    await work.close()
    assert closed.is_set()


async def test_a_reader_that_does_not_read_holds_the_stream_back():
    given = []

    async def stream():
        async for number in endless():
            given.append(number)
            yield number

    work = work_on(stream())
    await anext(work.batches())
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(given) <= 2 * N_WAITING + 2
    await work.close()


async def test_work_goes_on_when_its_reader_is_gone_until_somebody_closes_it():
    """A connection may end before the work that was asked over it."""
    done = asyncio.Event()
    gate = asyncio.Event()

    async def stream():
        yield 1
        await gate.wait()
        yield 2
        done.set()

    work = work_on(stream())
    reader = work.batches()
    await anext(reader)
    await reader.aclose()
    gate.set()
    await done.wait()
    assert [batch async for batch in work.batches()] == [[2]]
    await work.close()


async def test_an_error_while_closing_is_logged_and_no_more(caplog):
    async def stream():
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    work = work_on(stream())
    await anext(work.batches())
    await work.close()
    assert "ZeroDivisionError" in caplog.text
