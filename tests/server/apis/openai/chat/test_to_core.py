"""OpenAI's requests to core's."""

import base64
import json

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import JsonObject, JsonSchema
from aiadmin_core.specs.content import AudioPart, ImagePart, Message, TextPart, ToolCall, ToolResultPart
from aiadmin_core.specs.request import ToolChoice
from aiadmin_server.apis.openai.chat.to_core import chat_call
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.http.reading import decode

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def chat(**fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields
    return chat_call(decode(json.dumps(body).encode(), ChatCompletionRequest))


def request(**fields):
    return chat(**fields).requests[0]


def refused(make, **fields) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        make(**fields)
    return caught.value


def test_nothing_is_asked_for_where_nothing_is_said():
    one = request()
    assert one == type(one)(id=0, input=one.input)
    assert chat().given == frozenset()
    assert chat().unplaced == ()


def test_every_role_becomes_a_message():
    conversation = [
        {"role": "system", "content": "be kind"},
        {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]},
        {"role": "user", "content": "hi", "name": "bob"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "assistant", "refusal": "no"},
    ]
    assert request(messages=conversation).messages == (
        Message(role="system", content=(TextPart("be kind"),)),
        Message(role="developer", content=(TextPart("be "), TextPart("brief"))),
        Message(role="user", content=(TextPart("hi"),), name="bob"),
        Message(role="assistant", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),), reasoning="hm"),
        Message(role="tool", content=(ToolResultPart(tool_call_id="1", content=(TextPart("42"),)),)),
        Message(role="assistant", content=(TextPart("no"),)),
    )


def test_images_and_sounds_become_parts():
    data = base64.b64encode(b"bytes").decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ]
    assert request(messages=[{"role": "user", "content": content}]).messages[0].content == (
        ImagePart(data=b"bytes", media_type="image/png", detail="low"),
        ImagePart(url="https://example.org/a.png"),
        AudioPart(data=b"bytes", format="wav"),
    )


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,%"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,raw"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "image_url.url"),
        ({"type": "input_audio", "input_audio": {"data": "é", "format": "wav"}}, "input_audio.data"),
        ({"type": "file", "file": {"file_id": "x"}}, ""),
    ],
)
def test_parts_that_cannot_be_read_are_named(part, param):
    error = refused(chat, messages=[{"role": "user", "content": [part]}])
    assert error.param == f"messages[0].content[0].{param}".rstrip(".")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "content": "x", "name": "f"}, "name"),
        ({"role": "assistant"}, "content"),
        ({"role": "assistant", "audio": {"id": "x"}}, "audio"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": ""}}, "function_call"),
    ],
)
def test_messages_that_have_no_place_are_named(message, param):
    assert refused(chat, messages=[message]).param == f"messages[0].{param}"


def test_an_empty_conversation_is_refused():
    assert refused(chat, messages=[]).param == "messages"


def test_response_formats():
    assert request(response_format={"type": "text"}).constraint is None
    assert request(response_format={"type": "json_object"}).constraint == JsonObject()
    definition = {"name": "a", "schema": SCHEMA, "strict": True}
    wanted = request(response_format={"type": "json_schema", "json_schema": definition}).constraint
    assert wanted == JsonSchema(schema=SCHEMA, name="a", strict=True)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice()),
        ("none", ToolChoice(mode="none")),
        ("required", ToolChoice(mode="required")),
        ({"type": "function", "function": {"name": "g"}}, ToolChoice(mode="required", names=("g",), parallel=False)),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": TOOLS}},
            ToolChoice(mode="auto", names=("f", "g")),
        ),
    ],
)
def test_tool_choices(choice, expected):
    assert request(tools=TOOLS, tool_choice=choice).tool_choice == expected


def test_a_named_choice_is_several_calls_only_where_they_are_asked_for():
    choice = {"type": "function", "function": {"name": "g"}}
    asked = [request(tools=TOOLS, tool_choice=choice, parallel_tool_calls=value) for value in (None, False, True)]

    assert [one.tool_choice.parallel for one in asked] == [False, False, True]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": TOOLS}, "tool_choice.function.name"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tools": TOOLS},
            "tool_choice.allowed_tools.tools",
        ),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"²": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"chat_template_kwargs": {"a": [10**30]}}, "chat_template_kwargs.a[0]"),
    ],
)
def test_contradictions_and_wrong_values_are_named(fields, param):
    assert refused(chat, **fields).param == param


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"temperature": 2.5}, "between 0 and 2"),
        ({"top_p": -0.1}, "between 0 and 1"),
        ({"frequency_penalty": 3}, "between -2 and 2"),
        ({"n": 0}, "between 1 and 128"),
        ({"logprobs": True, "top_logprobs": 21}, "between 0 and 20"),
        ({"max_tokens": 0}, "between 1 and"),
        ({"seed": 2**63}, "between -9223372036854775808 and"),
        ({"repeat_penalty": 0}, "between 0.01 and 100"),
    ],
)
def test_a_value_out_of_range_names_the_range(fields, text):
    error = refused(chat, **fields)
    assert error.param == list(fields)[-1]
    assert text in error.message


def test_both_names_of_the_limit_may_agree():
    assert request(max_tokens=5, max_completion_tokens=5).sampling.max_tokens == 5
    assert request(max_completion_tokens=6).sampling.max_tokens == 6


def test_what_the_client_set_is_remembered():
    """The model's own defaults go to the rest."""
    assert chat(temperature=1.0, max_tokens=5).given == {"temperature", "max_tokens"}


@pytest.mark.parametrize(("value", "expected"), [(0, 0), ("10m", 600), (-1, float("inf")), ("300", 300), (1.5, 1.5)])
def test_keep_alive_is_a_number_or_a_duration(value, expected):
    assert chat(keep_alive=value).keep_alive_s == expected


def test_fields_without_a_place_are_kept_as_they_came():
    kept = {"user": "me", "service_tier": "auto", "prompt_cache_options": {"mode": "implicit"}, "metadata": {"a": "b"}}
    assert {field.name: field.value for field in chat(**kept).unplaced} == kept
    assert not any(field.why for field in chat(**kept).unplaced)


def test_a_field_without_a_place_that_asks_for_something_says_why_it_is_refused():
    (field,) = chat(store=True).unplaced
    assert (field.name, field.value, field.why) == ("store", True, "chat completions are not stored.")


def test_a_token_id_of_absurd_length_is_no_token_id():
    """Python refuses to read a number of more than 4300 digits."""
    assert refused(chat, logit_bias={"9" * 5000: 1}).param == "logit_bias"


def test_the_name_the_client_used_for_the_limit_is_remembered():
    """An engine's complaint about it names that one."""
    assert chat(max_completion_tokens=5).names == {"max_tokens": "max_completion_tokens"}
    assert chat(max_tokens=5).names == {}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"safety_identifier": "x" * 65}, "safety_identifier"),
    ],
)
def test_what_is_for_a_hosted_services_books_is_bounded_as_there(fields, named):
    assert refused(chat, **fields).param.partition("[")[0] == named
