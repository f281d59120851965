"""Core's events to OpenAI's answers."""

from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.specs.events import Finished, ReasoningDelta, Started, TextDelta, ToolCallDelta, Usage
from aiadmin_server.apis.openai.chat.from_core import ChatFormat, Head, UsageTally, coalesce, fingerprint
from aiadmin_server.apis.openai.completions.from_core import TextFormat

HEAD = Head(id="x", created=1, model="m", system_fingerprint="fp")

deltas = st.one_of(
    st.builds(TextDelta, st.just(1), st.text(max_size=3), st.integers(0, 2)),
    st.builds(ReasoningDelta, st.just(1), st.text(max_size=3), st.integers(0, 2)),
    st.builds(
        ToolCallDelta, st.just(1), st.integers(0, 1), st.integers(0, 2), st.none(), st.none(), st.text(max_size=3)
    ),
)


def kinds(events, choice):
    """(kind, text) of one choice, neighbours of one kind joined."""
    found = []
    for event in events:
        if event.choice != choice:
            continue
        kind = (type(event), getattr(event, "index", None))
        text = event.arguments if isinstance(event, ToolCallDelta) else event.text
        if found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1] + text)
        else:
            found.append((kind, text))
    return found


@given(st.lists(deltas, max_size=30))
def test_joining_loses_nothing_and_keeps_each_choice_s_order(events):
    joined = coalesce(events)
    for choice in range(3):
        assert kinds(joined, choice) == kinds(events, choice)
        lane = [event for event in joined if event.choice == choice]
        assert len(lane) == len(kinds(events, choice))


def test_a_new_call_is_not_joined_to_the_last():
    events = [ToolCallDelta(1, 0, id="a", name="f"), ToolCallDelta(1, 0, id="b", name="g")]
    assert coalesce(events) == events


def test_usage_counts_a_prompt_once_and_every_choice():
    tally = UsageTally()
    for request_id, choice, cached in [(1, 0, 3), (1, 1, 5), (2, 0, None)]:
        usage = Usage(prompt_tokens=10, completion_tokens=2, cached_tokens=cached, reasoning_tokens=1)
        tally.add(Finished(request_id, "stop", usage, choice))
    total = tally.total()
    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (20, 6, 26)
    assert total.prompt_tokens_details.cached_tokens == 5
    assert total.completion_tokens_details.reasoning_tokens == 3


def test_nothing_cached_is_0_and_not_missing():
    tally = UsageTally()
    tally.add(Finished(1, "stop", Usage(prompt_tokens=1, cached_tokens=0)))
    assert tally.total().prompt_tokens_details.cached_tokens == 0


def test_an_answer_without_text_or_calls_is_an_empty_text():
    whole = ChatFormat(HEAD, n=1, include_usage=False).whole([Started(1, 1), Finished(1, "length")])
    assert whole.choices[0].message.content == ""
    assert whole.choices[0].finish_reason == "length"


def test_text_beside_tool_calls_is_kept():
    events = [TextDelta(1, "let me see"), ToolCallDelta(1, 0, id="a", name="f"), Finished(1, "tool_calls")]
    message = ChatFormat(HEAD, n=1, include_usage=False).whole(events).choices[0].message
    assert message.content == "let me see"
    assert message.tool_calls[0].function.arguments == ""


def test_a_completion_has_one_text_thoughts_included():
    events = [ReasoningDelta(1, "a"), TextDelta(1, "b"), Finished(1, "stop")]
    assert TextFormat(HEAD, echo=["p"], include_usage=False).whole(events).choices[0].text == "pab"


def test_a_fingerprint_changes_with_what_it_names():
    assert fingerprint("a", "b") == fingerprint("a", "b") != fingerprint("ab", "")
