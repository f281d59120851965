"""Core's events to chat completions."""

from aiadmin_core.specs.events import Finished, Started, TextDelta, ToolCallDelta
from aiadmin_server.apis.openai.chat.from_core import ChatWriter
from aiadmin_server.apis.openai.streaming import Head

HEAD = Head(id="x", created=1, model="m", system_fingerprint="fp")


def test_an_answer_without_text_or_calls_is_an_empty_text():
    whole = ChatWriter(HEAD, n=1, include_usage=False).whole([Started(1, 1), Finished(1, "length")])
    assert whole.choices[0].message.content == ""
    assert whole.choices[0].finish_reason == "length"


def test_text_beside_tool_calls_is_kept():
    events = [TextDelta(1, "let me see"), ToolCallDelta(1, 0, id="a", name="f"), Finished(1, "tool_calls")]
    message = ChatWriter(HEAD, n=1, include_usage=False).whole(events).choices[0].message
    assert message.content == "let me see"
    assert message.tool_calls[0].function.arguments == ""
