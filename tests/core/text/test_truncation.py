"""Conversations that are too long, without their oldest turns."""

import pytest

from aiadmin_core.specs.content import Message, TextPart, ToolCall, ToolResultPart, plain_text
from aiadmin_core.text.prompt import RenderedPrompt
from aiadmin_core.text.truncation import fitting, without_oldest


def message(role, text):
    return Message(role=role, content=(TextPart(text),))


SYSTEM = message("system", "S")
ONE = (message("user", "1"), message("assistant", "a"))
TWO = (
    message("user", "2"),
    Message(role="assistant", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)),
    Message(role="tool", content=(ToolResultPart(tool_call_id="1", content=(TextPart("r"),)),)),
    message("assistant", "b"),
)
THREE = (message("user", "3"), message("user", "also"))


def test_a_turn_goes_as_a_whole_and_instructions_stay():
    """A call without its result, or a result without its call, never remains."""
    conversation = (SYSTEM, *ONE, *TWO, *THREE)
    assert without_oldest(conversation) == [conversation, (SYSTEM, *TWO, *THREE), (SYSTEM, *THREE)]
    assert without_oldest(THREE) == [THREE]
    assert without_oldest((SYSTEM,)) == [(SYSTEM,)]


def test_a_conversation_may_begin_with_the_assistant():
    conversation = (message("assistant", "hello"), *ONE, *THREE)
    assert without_oldest(conversation) == [conversation, (*ONE, *THREE), THREE]


@pytest.mark.parametrize("most", range(1, 60))
def test_as_few_turns_as_possible_are_left_out(most):
    conversation = (SYSTEM, *(message(role, f"{n:02}") for n in range(8) for role in ("user", "assistant")))
    written = []

    def write(messages):
        written.append(messages)
        return RenderedPrompt(tokens=[0] * sum(len(plain_text(one.content)) for one in messages), tail="")

    rendered, n_dropped = fitting(conversation, write, most)
    expected = next((n for n in range(8) if 1 + 4 * (8 - n) <= most), 7)
    assert n_dropped == 2 * expected
    assert len(rendered.tokens) == 1 + 4 * (8 - expected)
    assert len(written) <= 5
