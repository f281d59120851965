"""Which deltas become one."""

from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.specs.events import Failed, Finished, ReasoningDelta, Started, TextDelta, TokenLogprob, ToolCallDelta
from aiadmin_core.specs.joining import MAX_CHARS, joined


def test_neighbours_of_one_kind_become_one_with_their_logprobs():
    tokens = [TokenLogprob(number, b"x", -1.0) for number in range(3)]
    events = [TextDelta(1, str(number), logprobs=(token,)) for number, token in enumerate(tokens)]
    assert joined(events) == [TextDelta(1, "012", logprobs=tuple(tokens))]


def test_reasoning_and_answer_stay_apart():
    events = [ReasoningDelta(1, "hm"), TextDelta(1, "so"), ReasoningDelta(1, "hm")]
    assert joined(events) == events


def test_choices_are_joined_each_by_itself():
    events = [TextDelta(1, "a", 0), TextDelta(1, "b", 1), TextDelta(1, "c", 0), TextDelta(1, "d", 1)]
    assert joined(events) == [TextDelta(1, "ac", 0), TextDelta(1, "bd", 1)]


def test_requests_are_joined_each_by_itself():
    events = [TextDelta(1, "a"), TextDelta(2, "b"), TextDelta(1, "c")]
    assert joined(events) == [TextDelta(1, "ac"), TextDelta(2, "b")]


def test_the_arguments_of_one_tool_call_are_joined_and_calls_stay_apart():
    events = []
    for index in range(2):
        events.append(ToolCallDelta(1, index, id=f"call_{index}", name="f"))
        events += [ToolCallDelta(1, index, arguments=piece) for piece in ('{"a"', ": 1}")]
    assert joined(events) == [ToolCallDelta(1, index, 0, f"call_{index}", "f", '{"a": 1}') for index in range(2)]


def test_nothing_is_joined_across_an_end():
    events = [Started(1, 3), TextDelta(1, "a"), Finished(1, "stop"), TextDelta(1, "b", 1), Failed(1, "died")]
    assert joined(events) == events


def test_a_delta_that_is_long_already_is_left_as_it_is():
    long = TextDelta(1, "x" * MAX_CHARS)
    first, second = joined([long, TextDelta(1, "y")])
    assert first is long
    assert second.text == "y"


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
def test_each_choice_keeps_its_order_and_logprobs_and_what_is_joined_stays_so(events):
    got = joined(events)
    assert [flat(got, choice) for choice in range(3)] == [flat(events, choice) for choice in range(3)]
    assert joined(got) == got
