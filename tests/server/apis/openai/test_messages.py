"""Conversations as OpenAI's clients send them: calls and results belong together."""

import json

import msgspec
import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart, ToolCall, ToolResultPart
from aiadmin_server.apis.openai.messages import ChatMessage, to_messages

USER = {"role": "user", "content": "hi"}


def calling(*call_ids):
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in call_ids]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(call_id):
    return {"role": "tool", "tool_call_id": call_id, "content": "42"}


def read(*messages):
    return to_messages(msgspec.convert(list(messages), list[ChatMessage]), "messages")


LEGACY = (
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
    {"role": "function", "name": "f", "content": "42"},
)


@pytest.mark.parametrize(
    "messages",
    [
        (USER, calling("a", "b"), result("b"), result("a"), USER),
        (USER, calling("call_1"), result("call_1"), calling("call_1"), result("call_1")),
        (calling("a"), result("a"), {"role": "assistant", "content": "done"}),
        (USER, *LEGACY, *LEGACY),
        (USER, calling("a"), {"role": "system", "content": "Be brief."}, result("a")),
        (USER, {"role": "assistant", "content": "no calls", "tool_calls": []}),
    ],
)
def test_what_clients_send_passes(messages):
    assert len(read(*messages)) == len(messages)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ((USER, result("a")), "messages[1].tool_call_id"),
        ((USER, calling("a"), result("b")), "messages[2].tool_call_id"),
        ((USER, calling("a"), result("a"), result("a")), "messages[3].tool_call_id"),
        ((USER, calling("a"), result("a"), USER, result("a")), "messages[4].tool_call_id"),
        ((USER, calling("a", "b"), result("a")), "messages[1].tool_calls[1].id"),
        ((USER, calling("a"), USER, result("a")), "messages[1].tool_calls[0].id"),
        ((USER, calling("a")), "messages[1].tool_calls[0].id"),
        ((USER, calling("a", "a"), result("a")), "messages[1].tool_calls[1].id"),
        ((USER, LEGACY[0]), "messages[1].function_call"),
        ((USER, LEGACY[1]), "messages[1].name"),
        ((USER, LEGACY[0], {**LEGACY[1], "name": "g"}), "messages[2].name"),
    ],
)
def test_a_call_without_its_result_and_a_result_without_its_call_are_named(messages, param):
    with pytest.raises(BadRequest) as caught:
        read(*messages)
    assert caught.value.param == param
    assert param in caught.value.message


def test_functions_are_tools_whose_calls_have_an_id_of_ours():
    """The same in every turn: the prompt stays as it was."""
    _, asked, answered = read(USER, *LEGACY)
    (call,) = asked.tool_calls
    assert (call.name, call.arguments) == ("f", '{"a": 1}')
    (part,) = answered.content
    assert (answered.role, answered.name, part.tool_call_id) == ("tool", "f", call.id)
    assert read(USER, *LEGACY, USER)[:3] == read(USER, *LEGACY)


def test_a_call_of_a_custom_tool_is_one_with_a_single_argument():
    call = {"id": "a", "type": "custom", "custom": {"name": "sql", "input": 'SELECT "x"'}}
    asked, answered = read({"role": "assistant", "tool_calls": [call]}, result("a"))
    arguments = json.dumps({"input": 'SELECT "x"'})
    assert asked == Message(role="assistant", tool_calls=(ToolCall(id="a", name="sql", arguments=arguments),))
    assert answered.content == (ToolResultPart(tool_call_id="a", content=(TextPart("42"),)),)


def test_the_conversations_of_real_agents_pass(shared_data):
    n_read = 0
    for path in sorted((shared_data / "agents").glob("*.json")):
        recorded = json.loads(path.read_text(encoding="utf-8"))
        messages = recorded.get("body", recorded).get("messages", ())
        if path.name.startswith(("aider", "opencode")):
            assert read(*messages), path.name
            n_read += 1
    assert n_read >= 4
