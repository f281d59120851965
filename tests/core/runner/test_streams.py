"""Events that wait for a slow reader."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.runner.streams import COALESCE_AFTER, DELTA_CHARS, EventStream
from aiadmin_core.specs.events import Failed, Finished, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta


async def drained(stream):
    events = []
    while (event := await stream.get()) is not None:
        events.append(event)
    return events


def test_events_come_out_as_they_went_in_while_the_reader_keeps_up():
    events = [TextDelta(1, str(number)) for number in range(COALESCE_AFTER)]
    stream = EventStream()
    for event in events:
        stream.put(event)
    stream.end()
    assert asyncio.run(drained(stream)) == events


def test_a_reader_is_woken_by_an_event_and_by_the_end():
    async def main():
        stream = EventStream()
        reading = asyncio.create_task(drained(stream))
        await asyncio.sleep(0)
        stream.put(TextDelta(1, "a"))
        await asyncio.sleep(0)
        stream.end()
        assert await reading == [TextDelta(1, "a")]

    asyncio.run(main())


def test_a_failure_ends_a_stream_that_has_not_ended():
    failure = Failed(1, "died")
    stream = EventStream()
    stream.end(failure)
    stream.end(failure)
    assert asyncio.run(drained(stream)) == [failure]


def test_a_stream_that_waits_grows_by_its_text_only():
    stream = EventStream()
    for _ in range(20_000):
        stream.put(TextDelta(1, "ten chars.", choice=0))
        stream.put(ReasoningDelta(1, "ten chars.", choice=1))
    assert len(stream) < COALESCE_AFTER + 2 + 2 * 20_000 * 10 / DELTA_CHARS


def test_the_arguments_of_one_tool_call_are_joined_and_calls_stay_apart():
    stream = EventStream()
    for _ in range(COALESCE_AFTER):
        stream.put(TextDelta(1, "", choice=1))
    for index in range(2):
        stream.put(ToolCallDelta(1, index, id=f"call_{index}", name="f"))
        for piece in ('{"a"', ": 1}"):
            stream.put(ToolCallDelta(1, index, arguments=piece))
    stream.end()
    calls = [event for event in asyncio.run(drained(stream)) if isinstance(event, ToolCallDelta)]
    assert calls == [ToolCallDelta(1, index, 0, f"call_{index}", "f", '{"a": 1}') for index in range(2)]


deltas = st.builds(
    lambda kind, choice, text: kind(1, text, choice, (TokenLogprob(len(text), text.encode(), 0.0),)),
    st.sampled_from([TextDelta, ReasoningDelta]),
    st.integers(min_value=0, max_value=2),
    st.text(max_size=3),
)
others = st.builds(lambda choice: Finished(1, "stop", choice=choice), st.integers(min_value=0, max_value=2))


def flat(events, choice):
    """One choice's events, taken apart into tokens."""
    tokens = []
    for event in events:
        if event.choice == choice and isinstance(event, TextDelta | ReasoningDelta):
            tokens += [(type(event), logprob.bytes) for logprob in event.logprobs]
            assert event.text.encode() == b"".join(logprob.bytes for logprob in event.logprobs)
        elif event.choice == choice:
            tokens.append(event)
    return tokens


@given(st.lists(deltas | others, max_size=30))
def test_joining_keeps_each_choices_order_and_logprobs(late):
    events = [ReasoningDelta(1, "", choice=3) for _ in range(COALESCE_AFTER)] + late  # enough wait for joining to begin
    stream = EventStream()
    expected = [flat(events, choice) for choice in range(3)]
    for event in events:
        stream.put(event)
    stream.end()
    got = asyncio.run(drained(stream))
    assert [flat(got, choice) for choice in range(3)] == expected
