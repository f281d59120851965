"""Events that wait for a slow reader."""

import asyncio

from aiadmin_core.specs.events import Failed, Finished, ReasoningDelta, Started, TextDelta
from aiadmin_core.specs.joining import MAX_CHARS
from aiadmin_core.streams import JOIN_AT, EventStream


async def drained(stream):
    events = []
    while batch := await stream.get():
        events += batch
    return events


async def test_a_reader_that_keeps_up_gets_every_event_as_it_was():
    stream = EventStream()
    for number in range(3):
        event = TextDelta(1, str(number))
        stream.put([event])
        (got,) = await stream.get()
        assert got is event


def test_what_waits_is_read_in_one_piece():
    stream = EventStream()
    for event in (Started(1, 5), TextDelta(1, "a"), TextDelta(1, "b"), Finished(1, "stop")):
        stream.put([event])

    assert list(asyncio.run(stream.get())) == [Started(1, 5), TextDelta(1, "a"), TextDelta(1, "b"), Finished(1, "stop")]


def test_a_failure_comes_after_what_came_before_it():
    stream = EventStream()
    stream.put([TextDelta(1, "a")])
    stream.end(Failed(1, "died"))
    assert asyncio.run(drained(stream)) == [TextDelta(1, "a"), Failed(1, "died")]


async def test_a_reader_is_woken_by_an_event_and_by_the_end():
    stream = EventStream()
    reading = asyncio.create_task(drained(stream))
    await asyncio.sleep(0)
    stream.put([TextDelta(1, "a")])
    await asyncio.sleep(0)
    stream.end()
    assert await reading == [TextDelta(1, "a")]


def test_a_failure_ends_a_stream_that_has_not_ended():
    failure = Failed(1, "died")
    stream = EventStream()
    stream.end(failure)
    stream.end(failure)
    assert asyncio.run(drained(stream)) == [failure]


def test_a_stream_that_waits_grows_by_its_text_only():
    stream = EventStream()
    for _ in range(20_000):
        stream.put([TextDelta(1, "ten chars.", choice=0)])
        stream.put([ReasoningDelta(1, "ten chars.", choice=1)])
    assert len(stream) < 2 * (JOIN_AT + 2 * 20_000 * 10 / MAX_CHARS)
