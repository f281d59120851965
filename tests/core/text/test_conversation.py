"""Messages as chat templates read them."""

from aiadmin_core.specs.content import ImagePart, Message, TextPart, Tool, ToolCall, ToolResultPart
from aiadmin_core.text.conversation import TemplateShape, marked, to_dicts, tools_to_dicts, with_own


def text(role, content, **fields):
    return Message(role=role, content=(TextPart(content),), **fields)


CALL = ToolCall(id="call_1", name="weather", arguments='{"city": "Köln"}')
RESULT = Message(role="tool", content=(ToolResultPart(tool_call_id="call_1", content=(TextPart("rain"),)),))


def test_content_is_a_string_or_a_list_of_parts_as_the_template_wants():
    message = Message(role="user", content=(TextPart("a"), TextPart("b")))

    assert to_dicts([message], TemplateShape()) == [{"role": "user", "content": "ab"}]
    assert to_dicts([message], TemplateShape(content_parts=True)) == [
        {"role": "user", "content": [{"type": "text", "text": "ab"}]}
    ]


def test_a_developer_is_the_system_where_the_template_knows_none():
    (plain,) = to_dicts([text("developer", "x")], TemplateShape())
    (knowing,) = to_dicts([text("developer", "x")], TemplateShape(developer_role=True))

    assert (plain["role"], knowing["role"]) == ("system", "developer")


def test_arguments_are_an_object_or_text_as_the_template_wants():
    message = Message(role="assistant", tool_calls=(CALL,))
    (as_object,) = to_dicts([message], TemplateShape())
    (as_text,) = to_dicts([message], TemplateShape(arguments_text=True))

    assert as_object["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Köln"}}
    assert as_text["tool_calls"][0]["function"]["arguments"] == '{"city": "Köln"}'


def test_arguments_that_are_no_json_reach_the_template_as_they_are():
    message = Message(role="assistant", tool_calls=(ToolCall(id="1", name="f", arguments="{oops"),))

    assert to_dicts([message], TemplateShape())[0]["tool_calls"][0]["function"]["arguments"] == "{oops"


def test_a_tool_result_names_its_call_and_its_tool():
    *_, result = to_dicts([Message(role="assistant", tool_calls=(CALL,)), RESULT], TemplateShape())

    assert result == {"role": "tool", "content": "rain", "tool_call_id": "call_1", "name": "weather"}


def test_a_message_with_two_results_becomes_two_messages():
    parts = tuple(ToolResultPart(tool_call_id=name, content=(TextPart(name),)) for name in ("a", "b"))
    dicts = to_dicts([Message(role="tool", content=parts)], TemplateShape())

    assert [message["content"] for message in dicts] == ["a", "b"]


def test_reasoning_goes_by_every_name_templates_use():
    (message,) = to_dicts([text("assistant", "2", reasoning="hm")], TemplateShape())

    assert message["reasoning_content"] == message["reasoning"] == message["thinking"] == "hm"


def test_the_models_system_message_stands_in_where_there_is_none():
    asked = (text("user", "hi"),)

    assert [message.role for message in with_own(asked, "be kind")] == ["system", "user"]
    assert with_own((text("developer", "x"), *asked), "be kind")[0].role == "developer"
    assert with_own(asked, None) == asked


def test_no_tools_are_none_or_an_empty_list_as_the_template_wants():
    assert tools_to_dicts((), TemplateShape()) is None
    assert tools_to_dicts((), TemplateShape(tools_list=True)) == []


def test_every_string_of_the_request_is_marked_and_none_of_ours():
    """What is not marked could become a control token."""
    messages = [
        text("user", "content", name="name"),
        Message(
            role="assistant",
            content=(TextPart("said"),),
            reasoning="thought",
            tool_calls=(ToolCall(id="id", name="called", arguments='{"key": ["value", 1]}'),),
        ),
        Message(role="tool", content=(ToolResultPart(tool_call_id="id", content=(TextPart("result"), ImagePart())),)),
    ]
    tool = Tool(name="tool", description="does", parameters={"properties": {"x": {"enum": ["y"]}}})
    strings = set()

    def collect(value):
        strings.add(value)
        return value

    to_dicts(messages, TemplateShape(), collect)
    tools_to_dicts([tool], TemplateShape(), collect)

    assert strings == {
        *("content", "name", "said", "thought", "id", "called", "key", "value", "result"),
        *("tool", "does", "properties", "x", "enum", "y"),
    }


def test_marking_keeps_what_is_no_string():
    assert marked({"a": [1, None, True, "b"]}, str.upper) == {"A": [1, None, True, "B"]}
