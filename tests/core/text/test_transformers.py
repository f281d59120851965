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
TOOLS = [Tool(name="get_weather", description="Tells the weather.", parameters=PARAMETERS)]
AS_OPENAI = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "Tells the weather.", "parameters": PARAMETERS},
    }
]
SYSTEM, USER = ("system", "Be brief."), ("user", "Weather in Köln?")
CONVERSATIONS = {
    "a question": [USER],
    "a system message": [SYSTEM, USER],
    "turns": [SYSTEM, USER, ("assistant", "Where?"), ("user", "In Köln.")],
    "a call": [SYSTEM, USER, ("call", ""), ("tool", "rain")],
    "a call and what follows": [USER, ("call", ""), ("tool", "rain"), ("assistant", "It rains."), ("user", "Thanks")],
}


def ours(turns):
    messages = []
    for role, text in turns:
        if role == "call":
            call = ToolCall(id="callabcd1", name="get_weather", arguments=json.dumps(ARGUMENTS))
            messages.append(Message(role="assistant", tool_calls=(call,)))
        elif role == "tool":
            result = ToolResultPart(tool_call_id="callabcd1", content=(TextPart(text),))
            messages.append(Message(role="tool", content=(result,)))
        else:
            messages.append(Message(role=role, content=(TextPart(text),)))
    return messages


@cache
def compiled(source):
    return ChatTemplate(source, bos="<s>", eos="</s>")


def theirs(turns, content, arguments):
    messages = []
    for role, text in turns:
        if role == "call":
            function = {"name": "get_weather", "arguments": arguments}
            calls = [{"id": "callabcd1", "type": "function", "function": function}]
            messages.append({"role": "assistant", "content": content, "tool_calls": calls})
        elif role == "tool":
            named = {"role": "tool", "content": text, "tool_call_id": "callabcd1", "name": "get_weather"}
            messages.append(named)
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
        for content, arguments in itertools.product(("", None), (ARGUMENTS, json.dumps(ARGUMENTS))):
            if expected and not any(role == "call" for role, _ in turns):
                break
            try:
                ((rendered,), _) = rendering.render_jinja_template(
                    [copy.deepcopy(theirs(turns, content, arguments))],
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
