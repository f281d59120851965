"""Engines of every kind, heard in batches."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from aiadmin_core.batches import READ_AHEAD, batches, gathered
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.events import Finished, Started, TextDelta
from aiadmin_core.specs.joining import joined
from aiadmin_core.specs.request import GenerateRequest, TextInput

REQUEST = GenerateRequest(id=1, input=TextInput(text="hi"))
EVENTS = (Started(1, 1), TextDelta(1, "a"), TextDelta(1, "b"), Finished(1, "stop"))


class Single:
    """Gives single events, at once, and then does what it is told."""

    def __init__(self, then=None):
        self.then = then
        self.closed = asyncio.Event()

    async def generate(self, request):
        try:
            for event in EVENTS:
                yield event
            if self.then:
                await self.then()
        finally:
            self.closed.set()


class Into(Single):
    """Hands over what a step gave."""

    async def generate_into(self, request, sink):
        try:
            sink(EVENTS[:2])
            sink(EVENTS[2:])
            if self.then:
                await self.then()
        finally:
            self.closed.set()


@pytest.mark.parametrize("kind", [Single, Into])
async def test_what_is_there_at_once_is_one_batch(kind):
    (batch,) = [batch async for batch in batches(kind(), REQUEST)]
    assert joined(batch) == [Started(1, 1), TextDelta(1, "ab"), Finished(1, "stop")]


@pytest.mark.parametrize("kind", [Single, Into])
async def test_an_error_comes_after_what_came_before_it(kind):
    async def refuse():
        raise BadRequest("no")

    found = batches(kind(refuse), REQUEST)
    assert isinstance((await anext(found))[-1], Finished)
    with pytest.raises(BadRequest):
        await anext(found)


@pytest.mark.parametrize("kind", [Single, Into])
async def test_closing_cancels_the_request(kind):
    async def hang():
        await asyncio.Event().wait()

    engine = kind(hang)
    async with aclosing(batches(engine, REQUEST)) as found:
        await anext(found)
    assert engine.closed.is_set()


@pytest.mark.parametrize("kind", [Single, Into])
async def test_an_engine_that_cancels_itself_leaves_nobody_waiting(kind):
    async def cancel():
        raise asyncio.CancelledError

    found = batches(kind(cancel), REQUEST)
    await anext(found)
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await anext(found)


async def test_batches_of_ones_own_are_left_as_they_are():
    async def own(request):
        yield EVENTS

    assert [batch async for batch in batches(SimpleNamespace(generate_batches=own), REQUEST)] == [EVENTS]


async def test_a_reader_that_does_not_read_holds_single_events_back():
    n_given = 0

    async def endless():
        nonlocal n_given
        while True:
            n_given += 1
            yield TextDelta(1, "a")

    async with aclosing(gathered(endless())) as found:
        for n_read in (1, 2):
            assert sum(len(delta.text) for delta in await anext(found)) == READ_AHEAD
            for _ in range(10):
                await asyncio.sleep(0)
            assert n_given <= (n_read + 1) * READ_AHEAD
