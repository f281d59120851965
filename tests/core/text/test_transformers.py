"""Prompts are what the model's makers render: `apply_chat_template` of transformers, byte for byte."""

import copy
import itertools
import json
from functools import cache

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart
from aiadmin_core.text.chat_template import ChatTemplate

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Where."}},
    "required": ["city"],
}
ARGUMENTS = {"city": "Köln <b>", "days": 3}
NESTED = {
    "city": "Łódź 🙂\n\"'",
    "tags": ["a", "ü"],
    "place": {"lat": 1.5, "path": [{"x": 1}], "none": None},
    "warm": True,
}
NOTHING = {"type": "object", "properties": {}}
TOOLS = [
    Tool(name="get_weather", description="Tells the weather.", parameters=PARAMETERS),
    Tool(name="now", description="Tells the time <now> & später.", parameters=NOTHING),
]
AS_OPENAI = [
    {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }
    for tool in TOOLS
]
SYSTEM, USER = ("system", "Be brief."), ("user", "Weather in Köln?")
CONVERSATIONS = {
    "a question": [USER],
    "a system message": [SYSTEM, USER],
    "turns": [SYSTEM, USER, ("assistant", "Where?"), ("user", "In Köln.")],
    "a call": [SYSTEM, USER, ("call", ""), ("tool", "rain")],
    "two calls": [SYSTEM, USER, ("calls", ""), ("tool", "rain"), ("tool of now", "10:00")],
    "nested arguments": [USER, ("nested call", ""), ("tool", "Regen ☔")],
    "no arguments": [USER, ("empty call", ""), ("tool of now", ""), ("assistant", "It is late.")],
    "a call and a text": [USER, ("call", "I look."), ("tool", "rain")],
    "a call and what follows": [USER, ("call", ""), ("tool", "rain"), ("assistant", "It rains."), ("user", "Thanks")],
}


CALLS = {
    "call": [("callabcd1", "get_weather", ARGUMENTS)],
    "calls": [("callabcd1", "get_weather", ARGUMENTS), ("callabcd2", "now", {})],
    "nested call": [("callabcd1", "get_weather", NESTED)],
    "empty call": [("callabcd2", "now", {})],
}
RESULTS = {"tool": ("callabcd1", "get_weather"), "tool of now": ("callabcd2", "now")}


def ours(turns):
    messages = []
    for role, text in turns:
        if role in CALLS:
            calls = tuple(ToolCall(id=id_, name=name, arguments=json.dumps(given)) for id_, name, given in CALLS[role])
            content = (TextPart(text),) if text else ()
            messages.append(Message(role="assistant", content=content, tool_calls=calls))
        elif role in RESULTS:
            result = ToolResultPart(tool_call_id=RESULTS[role][0], content=(TextPart(text),))
            messages.append(Message(role="tool", content=(result,)))
        else:
            messages.append(Message(role=role, content=(TextPart(text),)))
    return messages


@cache
def compiled(source):
    return ChatTemplate(source, bos="<s>", eos="</s>")


def theirs(turns, content, as_text):
    messages = []
    for role, text in turns:
        if role in CALLS:
            calls = [
                {
                    "id": id_,
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(given) if as_text else given},
                }
                for id_, name, given in CALLS[role]
            ]
            messages.append({"role": "assistant", "content": text or content, "tool_calls": calls})
        elif role in RESULTS:
            id_, name = RESULTS[role]
            messages.append({"role": "tool", "content": text, "tool_call_id": id_, "name": name})
        else:
            messages.append({"role": role, "content": text})
    return messages


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("tools", [False, True])
def test_prompts_are_those_of_transformers(shared_data, name, tools):
    rendering = pytest.importorskip("transformers.utils.chat_template_utils")
    turns = CONVERSATIONS[name]
    n_compared, different = 0, []
    for path in sorted((shared_data / "chat_templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        expected = set()
        # What a client may send in either form, templates take in one.
        for content, as_text in itertools.product(("", None), (False, True)):
            if expected and not any(role in CALLS for role, _ in turns):
                break
            try:
                ((rendered,), _) = rendering.render_jinja_template(
                    [copy.deepcopy(theirs(turns, content, as_text))],
                    tools=AS_OPENAI if tools else None,
                    chat_template=source,
                    add_generation_prompt=True,
                    bos_token="<s>",
                    eos_token="</s>",
                )
            except Exception:
                continue
            expected.add(rendered)
        if not expected:
            continue
        n_compared += 1
        try:
            written = compiled(source).render(ours(turns), TOOLS if tools else ())
        except BadRequest as error:
            written = str(error)
        if written not in expected:
            different.append((path.stem, written[-300:], [one[-300:] for one in expected]))

    assert different == []
    assert n_compared > 30
