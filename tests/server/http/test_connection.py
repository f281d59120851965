"""Work for a client ends when the client leaves."""

import asyncio

import pytest

from aiadmin_core.errors import PluginError
from aiadmin_server.http.connection import while_connected


async def test_work_is_done_while_the_client_listens():
    done = []

    async def receive():
        await asyncio.Event().wait()

    async def work():
        done.append(True)

    assert await while_connected(receive, work())
    assert done


async def test_work_is_cancelled_when_the_client_leaves():
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

    assert not await while_connected(receive, work())
    assert cancelled.is_set()


def test_what_work_raises_is_raised():
    async def listening():
        await asyncio.Event().wait()

    async def failing():
        raise ZeroDivisionError

    async def cancelled():
        raise asyncio.CancelledError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(while_connected(listening, failing()))
    with pytest.raises(PluginError):
        asyncio.run(while_connected(listening, cancelled()))


async def test_cancelling_the_request_cancels_its_work():
    ended = asyncio.Event()

    async def listening():
        await asyncio.Event().wait()

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(while_connected(listening, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
