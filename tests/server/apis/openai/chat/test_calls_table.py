"""Every way to ask for calls, whole and streamed, cut and not: over an engine that is given its tokens."""

import json
from itertools import product

import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.testing.fake import FakeTokenEngine

NAMES = ("weather", "time")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn", "Trier"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA, "strict": strict}}
    for name, strict in zip(NAMES, (True, False), strict=True)
]


def named(name):
    return {"type": "function", "function": {"name": name}}


def allowed(mode):
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named("time")]}}


CHOICES = {
    "none": "none",
    "absent": None,
    "auto": "auto",
    "required": "required",
    "named": named("time"),
    "allowed, auto": allowed("auto"),
    "allowed, required": allowed("required"),
}
MAY_SPEAK = {"none", "absent", "auto", "allowed, auto"}
TEXT = "Let me see."


def call(name):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {{"city": "Bonn"}}}}\n</tool_call>'


def written(choice, parallel):
    """What the model writes, and how many calls that is. With `none` it writes calls that nobody asked for."""
    names = NAMES if choice in ("none", "absent", "auto", "required") else ("time", "time")
    names = names if parallel else names[:1]
    calls = "\n".join(map(call, names))
    return (TEXT + calls if choice in MAY_SPEAK else calls), names


class Heard:
    """One choice of a stream, put together, checked on the way."""

    def __init__(self):
        self.content, self.calls, self.finish, self.role = "", [], None, None

    def hear(self, choice):
        assert self.finish is None, "nothing comes after the end"
        delta = choice["delta"]
        if self.role is None:
            self.role = delta["role"]
        else:
            assert "role" not in delta
        self.content += delta.get("content") or ""
        for one in delta.get("tool_calls", ()):
            if "id" in one:
                assert one["index"] == len(self.calls), "calls are counted through, none is come back to"
                assert one["type"] == "function"
                self.calls.append({"id": one["id"], "name": one["function"]["name"], "arguments": ""})
            else:
                assert one["index"] == len(self.calls) - 1
                assert "name" not in one["function"]
            self.calls[-1]["arguments"] += one["function"]["arguments"]
        self.finish = choice["finish_reason"]


def heard(response, n):
    choices = [Heard() for _ in range(n)]
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            assert chunk["object"] == "chat.completion.chunk"
            for choice in chunk["choices"]:
                choices[choice["index"]].hear(choice)
    assert response.text.rstrip().endswith("data: [DONE]")
    return choices


def read(response, n):
    choices = []
    for index, choice in enumerate(response.json()["choices"]):
        one, message = Heard(), choice["message"]
        assert choice["index"] == index
        assert message["content"] is not None or message["tool_calls"]
        one.content, one.finish = message["content"] or "", choice["finish_reason"]
        for each in message.get("tool_calls", ()):
            assert each["type"] == "function"
            one.calls.append({"id": each["id"], **each["function"]})
        choices.append(one)
    assert len(choices) == n
    return choices


@pytest.mark.parametrize("choice", CHOICES)
async def test_finish_reasons_calls_and_text_of_every_combination(serve, choice):
    script = {}
    engine = assemble(
        FakeTokenEngine(script=lambda _request, _choice: list(script["text"].encode())),
        ModelSpec(name="fake", digest="", format="other", files=()),
    )

    async with serve(script=engine.generate, capabilities=engine.capabilities) as server:
        for stream, is_cut, n, parallel in product((False, True), (False, True), (1, 3), (True, False)):
            case = (stream, is_cut, n, parallel)
            script["text"], names = written(choice, parallel)
            in_arguments = script["text"].index("Bonn")
            response = await server.chat(
                tools=TOOLS,
                tool_choice=CHOICES[choice],
                stream=stream,
                n=n,
                parallel_tool_calls=parallel,
                max_tokens=in_arguments if is_cut else None,
            )
            assert response.status_code == 200, (case, response.text)
            choices = (heard if stream else read)(response, n)
            ids = [one["id"] for each in choices for one in each.calls]
            assert len(set(ids)) == len(ids), case
            assert all(ids), case
            for each in choices:
                calls = [(one["name"], one["arguments"]) for one in each.calls]
                if choice == "none":
                    assert each.calls == [], case
                    assert each.content == script["text"][: in_arguments if is_cut else None], case
                    assert each.finish == ("length" if is_cut else "stop"), case
                    continue
                assert each.content == (TEXT if choice in MAY_SPEAK else ""), case
                if is_cut:
                    assert calls == [(names[0], '{"city": "')], case
                    assert each.finish == "length", case
                else:
                    assert calls == [(name, '{"city": "Bonn"}') for name in names], case
                    assert each.finish == "tool_calls", case
    await engine.close()


async def test_an_answer_that_may_call_and_does_not_stops(serve):
    engine = assemble(
        FakeTokenEngine(script=lambda _request, _choice: list(TEXT.encode())),
        ModelSpec(name="fake", digest="", format="other", files=()),
    )

    async with serve(script=engine.generate, capabilities=engine.capabilities) as server:
        for stream in (False, True):
            (one,) = (heard if stream else read)(await server.chat(tools=TOOLS, stream=stream), 1)
            assert (one.content, one.calls, one.finish) == (TEXT, [], "stop")
    await engine.close()
