"""What an answer may call, as the client says it and as it is told."""

import json

import pytest

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.events import Finished, ToolCallDelta
from aiadmin_core.specs.request import ToolChoice
from aiadmin_server.apis.openai.chat.to_core import chat_call
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.http.reading import decode

FUNCTION = {"name": "f", "description": "Does.", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FUNCTION}, {"type": "custom", "custom": {"name": "sql"}}]
HELLO = [{"role": "user", "content": "hi"}]


def chat(**fields):
    body = {"model": "m", "messages": HELLO} | fields
    return chat_call(decode(json.dumps(body).encode(), ChatCompletionRequest))


def with_grammar(syntax, definition="[0-9]+"):
    grammar = {"type": "grammar", "grammar": {"syntax": syntax, "definition": definition}}
    return [{"type": "custom", "custom": {"name": "sql", "format": grammar}}]


def named(name, kind="function"):
    return {"type": kind, kind: {"name": name}}


def payloads(text):
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(item) for item in data[:-1]]


def test_functions_are_tools_of_which_one_is_called_at_most():
    old, new = chat(functions=[FUNCTION]).requests[0], chat(tools=TOOLS[:1]).requests[0]
    assert old.input == new.input
    assert old.tool_choice == ToolChoice(parallel=False)
    for choice, wanted in (
        ("none", ToolChoice(mode="none", parallel=False)),
        ("auto", ToolChoice(parallel=False)),
        ({"name": "f"}, ToolChoice(mode="required", names=("f",), parallel=False)),
    ):
        assert chat(functions=[FUNCTION], function_call=choice).requests[0].tool_choice == wanted
    assert not chat(functions=[FUNCTION]).unplaced


def test_a_custom_tool_is_a_function_of_one_text():
    (tool,) = chat(tools=with_grammar("regex")).requests[0].input.tools
    assert tool.strict
    assert tool.parameters["properties"]["input"]["pattern"] == "^(?:[0-9]+)$"
    (tool,) = chat(tools=with_grammar("lark", "start: /a/")).requests[0].input.tools
    assert (tool.strict, tool.text_grammar) == (True, "start: /a/")
    assert "start: /a/" in tool.parameters["properties"]["input"]["description"]
    assert not chat(tools=TOOLS).requests[0].input.tools[1].strict
    assert chat(tools=TOOLS, tool_choice=named("sql", "custom")).requests[0].tool_choice.names == ("sql",)
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("sql", "custom")]}}
    assert chat(tools=TOOLS, tool_choice=allowed).requests[0].tool_choice == ToolChoice(names=("sql",))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools[1].function.name"),
        ({"tools": [TOOLS[0], named("f", "custom")]}, "tools[1].custom.name"),
        ({"tools": [named("")]}, "tools[0].function.name"),
        ({"tools": [named("a.b")]}, "tools[0].function.name"),
        ({"tools": [named("é")]}, "tools[0].function.name"),
        ({"tools": [named("a" * 65)]}, "tools[0].function.name"),
        ({"tools": [named("a\n")]}, "tools[0].function.name"),
        ({"functions": [FUNCTION, FUNCTION]}, "functions[1].name"),
        ({"functions": [{"name": "a b"}]}, "functions[0].name"),
        ({"functions": [FUNCTION], "tools": TOOLS}, "functions"),
        ({"functions": [FUNCTION], "tool_choice": "auto"}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"functions": [FUNCTION], "function_call": {"name": "g"}}, "function_call.name"),
        ({"tools": TOOLS, "tool_choice": named("sql")}, "tool_choice.function.name"),
        ({"tools": TOOLS, "tool_choice": named("f", "custom")}, "tool_choice.custom.name"),
    ],
)
def test_what_contradicts_itself_is_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["a", "a" * 64, "Get_weather-2", "mcp__server__tool"])
def test_names_openai_takes_are_taken(name):
    assert chat(tools=[named(name)]).requests[0].input.tools[0].name == name


@pytest.mark.parametrize(
    ("fields", "neutral", "param"),
    [
        ({"tools": TOOLS}, "tools[0].parameters", "tools[0].function.parameters"),
        ({"functions": [FUNCTION]}, "tools[0].parameters", "functions[0].parameters"),
        ({"tools": with_grammar("regex")}, "tools[0].parameters", "tools[0].custom.format.grammar.definition"),
        ({"tools": with_grammar("lark")}, "tools[0].text_grammar", "tools[0].custom.format.grammar.definition"),
        ({"functions": [FUNCTION]}, "tool_choice", "function_call"),
    ],
)
async def test_an_engines_complaint_names_what_was_sent(serve, fields, neutral, param):
    async def refusing(request):
        raise UnsupportedParameter(neutral, why="it cannot be had.")
        yield

    async with serve(script=refusing) as server:
        assert (await server.chat(**fields)).json()["error"]["param"] == param


async def test_calls_of_functions_are_told_in_the_old_way(serve):
    async def calling(request):
        yield ToolCallDelta(request.id, 0, id="call_1", name="f")
        yield ToolCallDelta(request.id, 0, arguments='{"a":')
        yield ToolCallDelta(request.id, 0, arguments="1}")
        yield Finished(request.id, "tool_calls")

    async with serve(script=calling) as server:
        (choice,) = (await server.chat(functions=[FUNCTION])).json()["choices"]
        assert choice["finish_reason"] == "function_call"
        assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
        assert choice["message"]["content"] is None
        assert "tool_calls" not in choice["message"]

        chunks = payloads((await server.chat(functions=[FUNCTION], stream=True)).text)
        choices = [chunk["choices"][0] for chunk in chunks]
        deltas = [one["delta"]["function_call"] for one in choices if "function_call" in one["delta"]]
        assert deltas[0]["name"] == "f"
        assert all("name" not in delta for delta in deltas[1:])
        assert "".join(delta["arguments"] for delta in deltas) == '{"a":1}'
        assert choices[-1]["finish_reason"] == "function_call"
        assert not any("tool_calls" in one["delta"] for one in choices)

        followed = [*HELLO, choice["message"], {"role": "function", "name": "f", "content": "2"}]
        assert (await server.chat(functions=[FUNCTION], messages=followed)).status_code == 200


async def test_calls_of_custom_tools_are_told_with_their_input_as_text(serve):
    pieces = ('{"inp', 'ut": "SELECT', ' \\"', "é\\", 'u00e9\\n"', "}")

    async def calling(request):
        yield ToolCallDelta(request.id, 0, id="call_1", name="sql")
        for piece in pieces:
            yield ToolCallDelta(request.id, 0, arguments=piece)
        yield ToolCallDelta(request.id, 1, id="call_2", name="f", arguments='{"input": "x"}')
        yield Finished(request.id, "tool_calls")

    async with serve(script=calling) as server:
        message = (await server.chat(tools=TOOLS)).json()["choices"][0]["message"]
        assert message["tool_calls"] == [
            {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": 'SELECT "éé\n'}},
            {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": '{"input": "x"}'}},
        ]

        chunks = payloads((await server.chat(tools=TOOLS, stream=True)).text)
        calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
        own = [call for call in calls if call["index"] == 0]
        assert (own[0]["id"], own[0]["type"], own[0]["custom"]["name"]) == ("call_1", "custom", "sql")
        assert "".join(call["custom"]["input"] for call in own) == 'SELECT "éé\n'
        assert [call["type"] for call in calls if "type" in call] == ["custom", "function"]

        results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "ok"} for n in (1, 2)]
        assert (await server.chat(tools=TOOLS, messages=[*HELLO, message, *results])).status_code == 200
        assert server.engine.requests[-1].messages[1].tool_calls[0].arguments == '{"input": "SELECT \\"éé\\n"}'


@pytest.mark.parametrize("kind", ["array", "objekt", ["string", "null"], None])
def test_arguments_of_a_function_are_an_object(kind):
    with pytest.raises(BadRequest, match="of the type 'object'") as caught:
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": kind}}}])
    assert caught.value.param == "tools[0].function.parameters"
