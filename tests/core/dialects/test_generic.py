"""Tools on models whose template says nothing about calls."""

from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.dialects.tools.generic import GenericDialect
from aiadmin_core.specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart, plain_text
from aiadmin_core.specs.request import ChatInput
from aiadmin_core.text.chat_template import CHATML, ChatTemplate

TOOL = Tool(name="f", description="Tells it.", parameters={"type": "object"})


def said(role, text):
    return Message(role=role, content=(TextPart(text),))


def written(x):
    return f'<tool_call>\n{{"name": "f", "arguments": {{"x": "{x}"}}}}\n</tool_call>'


def rewritten(messages, *, tools=(TOOL,), system=True):
    chat = GenericDialect(system=system).rewrite(ChatInput(messages=tuple(messages), tools=tools))
    assert chat.tools == ()
    return [(message.role, plain_text(message.content)) for message in chat.messages]


def test_the_system_message_says_what_there_is_and_how_to_call_it():
    ((role, text), user) = rewritten([said("user", "hi")])

    assert (role, user) == ("system", ("user", "hi"))
    assert '"description": "Tells it."' in text
    assert "<tool_call>" in text


def test_a_system_message_of_the_callers_stays_in_front():
    ((role, text), _) = rewritten([said("system", "Be kind."), said("user", "hi")])

    assert role == "system"
    assert text.startswith("Be kind.\n\n# Tools")


def test_calls_and_results_of_the_history_are_text_and_turns_alternate():
    calls = tuple(ToolCall(id=name, name="f", arguments=f'{{"x": "{name}"}}') for name in "ab")
    results = [Message(role="tool", content=(ToolResultPart(tool_call_id=n, content=(TextPart(n),)),)) for n in "ab"]
    history = [said("user", "hi"), Message(role="assistant", tool_calls=calls), *results]

    assert rewritten(history, tools=()) == [
        ("user", "hi"),
        ("assistant", f"{written('a')}\n{written('b')}"),
        ("user", "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>"),
    ]


def test_a_conversation_without_tools_is_left_alone():
    chat = ChatInput(messages=(said("user", "a"), said("user", "b")))

    assert GenericDialect().rewrite(chat) is chat


def test_a_template_without_system_messages_gets_the_instructions_with_the_first_question(shared_data):
    assert rewritten([said("user", "hi")], system=False)[0][1].endswith("\n\nhi")

    source = (shared_data / "chat_templates" / "google-gemma-2-2b-it.jinja").read_text(encoding="utf-8")
    for template in (ChatTemplate(source), ChatTemplate(CHATML)):
        speech = find_speech(template, OURS)
        chat = speech.rewrite(ChatInput(messages=(said("user", "hi"),), tools=(TOOL,)))
        assert "Tells it." in template.render(chat.messages)
