"""Calls being carried out: opened, held and closed, without a server."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from aiadmin_core.errors import PluginError
from aiadmin_server.serving.work import Work


def work_on(stream) -> Work:
    @contextlib.asynccontextmanager
    async def opening():
        async with contextlib.aclosing(stream):
            yield SimpleNamespace(batches=stream)

    return Work(opening())


async def test_what_keeps_it_from_opening_is_raised_to_who_asks():
    @contextlib.asynccontextmanager
    async def opening():
        raise ZeroDivisionError
        yield

    work = Work(opening())
    with pytest.raises(ZeroDivisionError):
        await work.opened()
    await work.close()


async def test_opening_that_is_cancelled_from_within_has_failed():
    @contextlib.asynccontextmanager
    async def opening():
        raise asyncio.CancelledError
        yield

    work = Work(opening())
    with pytest.raises(PluginError, match="cancelled from within"):
        await work.opened()
    await work.close()


async def test_closing_closes_the_stream_wherever_it_waits():
    closed = asyncio.Event()

    async def stream():
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    work = work_on(stream())
    await anext((await work.opened()).batches)
    await work.close()
    assert closed.is_set()


async def test_a_reader_that_does_not_read_holds_the_stream_back():
    n_given = 0

    async def stream():
        nonlocal n_given
        while True:
            n_given += 1
            yield n_given

    work = work_on(stream())
    await anext((await work.opened()).batches)
    for _ in range(10):
        await asyncio.sleep(0)
    assert n_given == 1
    await work.close()


async def test_work_is_held_when_its_reader_is_gone_until_somebody_closes_it():
    """A connection may end before the work that was asked over it: another reader goes on."""
    closed = asyncio.Event()

    async def stream():
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    async def read_one():
        return await anext((await work.opened()).batches)

    work = work_on(stream())
    assert await asyncio.create_task(read_one()) == 1
    assert await asyncio.create_task(read_one()) == 2
    assert not closed.is_set()
    await work.close()
    assert closed.is_set()


async def test_an_error_while_closing_is_logged_and_no_more(caplog):
    async def stream():
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    work = work_on(stream())
    await anext((await work.opened()).batches)
    await work.close()
    assert "ZeroDivisionError" in caplog.text
