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
        (chat(logit_bias={"5": "much"}), "logit_bias[...]"),
    ],
)
def test_a_wrong_type_or_a_missing_field_is_named_by_its_path(body, param):
    with pytest.raises(BadRequest) as caught:
        decode(body, ChatCompletionRequest)
    assert caught.value.param == param
    assert "`" not in caught.value.message


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
