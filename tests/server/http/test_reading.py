"""Bytes to requests: what is wrong is named by its path."""

import json

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.apis.openai.completions.wire import CompletionRequest
from aiadmin_server.http.reading import MalformedBody, decode


def chat(**fields) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields).encode()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (chat(messages=[{"content": "hi"}]), "messages[0].role"),
        (chat(messages=[{"role": "user"}]), "messages[0].content"),
        (chat(messages=[{"role": 5, "content": "hi"}]), "messages[0].role"),
        (chat(messages=[{"role": "robot", "content": "hi"}]), "messages[0].role"),
        (chat(messages=[{"role": "tool", "content": "hi"}]), "messages[0].tool_call_id"),
        (chat(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
        (chat(messages=[{"role": "user", "content": [{"type": "smell"}]}]), "messages[0].content[0].type"),
        (chat(temperature="hot"), "temperature"),
        (chat(temperature=True), "temperature"),
        (chat(seed=1.5), "seed"),
        (chat(stop=[1]), "stop[0]"),
        (chat(stream="yes"), "stream"),
        (chat(stream_options={"include_usage": "yes"}), "stream_options.include_usage"),
        (chat(response_format={"type": "yaml"}), "response_format.type"),
        (
            chat(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
            "response_format.json_schema.name",
        ),
        (chat(tools=[{"type": "function", "function": {}}]), "tools[0].function.name"),
        (chat(reasoning_effort="some"), "reasoning_effort"),
        (chat(logit_bias={"5": "much"}), "logit_bias.5"),
    ],
)
def test_a_wrong_type_or_a_missing_field_is_named_by_its_path(body, param):
    with pytest.raises(BadRequest) as caught:
        decode(body, ChatCompletionRequest)
    assert caught.value.param == param
    assert "`" not in caught.value.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": 5.5}, "Invalid value for 'max_tokens': expected a whole number, got 5.5."),
        ({"max_tokens": "5"}, "Invalid value for 'max_tokens': expected a whole number, got '5'."),
        ({"seed": True}, "Invalid value for 'seed': expected a whole number, got true."),
        ({"stop": 5}, "Invalid value for 'stop': expected a string or a list, got 5."),
        ({"stop": ["a", {}]}, "Invalid value for 'stop[1]': expected a string, got an object."),
        ({"stream": "yes" * 40}, f"expected true or false, got '{('yes' * 40)[:57]}...'."),
        ({"tool_choice": "must"}, "expected 'auto', 'none', 'required' or an object, got 'must'."),
        ({"model": None}, "Invalid value for 'model': expected a string, got null."),
        ({"messages": "hi"}, "Invalid value for 'messages': expected a list, got 'hi'."),
        ({"messages": [[]]}, "Invalid value for 'messages[0]': expected an object, got a list."),
        ({"logit_bias": {"4": 1, "5": "x"}}, "Invalid value for 'logit_bias.5': expected a number, got 'x'."),
        ({"response_format": {"type": "xml"}}, "expected 'text', 'json_object' or 'json_schema', got 'xml'."),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "Invalid value for 'messages[0].content[0].type': expected 'text', 'image_url', ",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_right(fields, message):
    with pytest.raises(BadRequest) as caught:
        decode(chat(**fields), ChatCompletionRequest)
    assert message in caught.value.message


def test_whole_numbers_are_whole_however_they_are_written():
    """Clients whose language has one kind of number write all of them with a point."""
    function = {"name": "f", "parameters": {"maximum": 5.0}}
    told = {"seed": 114.0, "max_tokens": 3.0, "n": 2.0, "temperature": 1.0, "top_k": 1e3, "logit_bias": {"5": 1.0}}
    data = decode(chat(tools=[{"type": "function", "function": function}], **told), ChatCompletionRequest).data

    assert (data.seed, data.max_tokens, data.n, data.top_k) == (114, 3, 2, 1000)
    assert all(type(number) is int for number in (data.seed, data.max_tokens, data.n, data.top_k))
    assert type(data.temperature) is float
    assert type(data.tools[0].function.parameters["maximum"]) is float
    assert decode(json.dumps({"model": "m", "prompt": [1.0, 2.0]}).encode(), CompletionRequest).data.prompt == [1, 2]


@pytest.mark.parametrize("number", ["1e400", "-1e400"])
def test_a_number_too_large_for_any_is_refused(number):
    with pytest.raises(BadRequest):
        decode(chat(seed=0).replace(b'"seed": 0', f'"seed": {number}'.encode()), ChatCompletionRequest)


def test_malformed_bodies_are_told_apart():
    for body in (b"", b"{", b"[]", b"null", b'{"a":1}x'):
        with pytest.raises(MalformedBody):
            decode(body, ChatCompletionRequest)


def test_unknown_fields_are_found_at_any_depth_unless_null():
    decoded = decode(
        chat(
            foo=1,
            nothing=None,
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "a", "bar": 2}]},
                {
                    "role": "assistant",
                    "content": "b",
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}", "baz": 3}}
                    ],
                },
            ],
            stream_options={"qux": 4},
        ),
        ChatCompletionRequest,
    )
    assert decoded.unknown == {
        "messages[0].content[0].bar": 2,
        "messages[1].tool_calls[0].function.baz": 3,
        "stream_options.qux": 4,
        "foo": 1,
    }


def test_what_a_type_leaves_open_is_the_sender_s_own():
    schema = {"type": "object", "properties": {"x": {"default": None}}}
    decoded = decode(
        chat(
            chat_template_kwargs={"anything": {"goes": 1}},
            metadata={"a": "b"},
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}],
        ),
        ChatCompletionRequest,
    )
    assert decoded.unknown == {}
    assert decoded.data.response_format.json_schema.schema == schema


def test_prompts_of_every_kind():
    for prompt in ("a", ["a", "b"], [1, 2], [[1], [2]]):
        body = json.dumps({"model": "m", "prompt": prompt}).encode()
        assert decode(body, CompletionRequest).data.prompt == prompt
