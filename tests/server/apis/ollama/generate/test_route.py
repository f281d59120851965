"""`/api/generate` over HTTP."""

import base64
import json

import pytest

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.content import ImagePart, Message, TextPart
from aiadmin_core.specs.events import Finished, ReasoningDelta, TextDelta, Usage
from aiadmin_core.specs.request import ChatInput, TextInput


async def generate(server, **fields):
    return await server.http.post("/api/generate", json={"model": "echo", "prompt": "hi"} | fields)


async def test_lines_have_the_text_in_response(serve):
    async def thinking(request):
        yield ReasoningDelta(request.id, "hmm")
        yield TextDelta(request.id, "yes")
        yield Finished(request.id, "stop", Usage(prompt_tokens=4, completion_tokens=2, decode_s=0.5))

    async with serve(script=thinking) as server:
        found = [json.loads(line) for line in (await generate(server)).text.splitlines()]
        assert [(line["response"], line.get("thinking"), line["done"]) for line in found] == [
            ("", "hmm", False),
            ("yes", None, False),
            ("", None, True),
        ]
        assert (found[-1]["prompt_eval_count"], found[-1]["eval_duration"]) == (4, 500_000_000)
        whole = (await generate(server, stream=False)).json()
        assert (whole["response"], whole["thinking"], whole["done"], whole["done_reason"]) == (
            "yes",
            "hmm",
            True,
            "stop",
        )


async def test_a_prompt_is_a_conversation_of_one_message(serve):
    """With a system message and images, where they are given."""
    png = b"\x89PNG..."
    async with serve() as server:
        await generate(server, system="Be brief.", images=[base64.b64encode(png).decode()])
        assert server.engine.request.input == ChatInput(
            messages=(
                Message(role="system", content=(TextPart("Be brief."),)),
                Message(role="user", content=(ImagePart(data=png, media_type="image/png"), TextPart("hi"))),
            )
        )


async def test_raw_prompts_and_gaps_have_no_template(serve):
    async with serve() as server:
        await generate(server, raw=True)
        response = await generate(server, suffix="!", system="Be brief.")
        assert response.headers["x-ignored-params"] == "system"
        assert [request.input for request in server.engine.requests] == [
            TextInput(text="hi"),
            TextInput(text="hi", suffix="!"),
        ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"raw": True, "system": "x"}, "raw mode does not support template, system, or context"),
        ({"template": "{{ .Prompt }}"}, "Unsupported parameter: 'template'"),
        ({"context": [1, 2, 3]}, "Unsupported parameter: 'context'"),
        ({"raw": True, "images": ["AAAA"]}, "'images' need a template"),
        ({"suffix": "!", "images": ["AAAA"]}, "'images' need a template"),
        ({"images": ["!"]}, "'images[0]' is not valid base64"),
    ],
)
async def test_what_cannot_be_had_is_named(serve, fields, text):
    async with serve() as server:
        response = await generate(server, **fields)
        assert response.status_code == 400
        assert text in response.json()["error"]


async def test_fields_that_ask_for_nothing_are_taken(serve):
    async with serve() as server:
        response = await generate(server, context=[], template="", images=[], system="", suffix="", raw=False)
        assert response.status_code == 200
        assert "x-ignored-params" not in response.headers


async def test_a_model_that_cannot_is_told_by_the_fields_of_this_endpoint(serve):
    async with serve(capabilities=Capabilities()) as server:
        images = await generate(server, images=["AAAA"])
        assert "'images[0]'" in images.json()["error"]
    async with serve(capabilities=Capabilities(inputs=frozenset({"text"}))) as server:
        assert "does not support insert" in (await generate(server, suffix="!")).json()["error"]
        assert "'prompt'" in (await generate(server)).json()["error"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("keep_alive", "reason"), [(None, "load"), (0, "unload"), ("10m", "load")])
async def test_an_empty_prompt_loads_or_unloads(serve, stream, keep_alive, reason):
    async with serve() as server:
        response = await generate(server, prompt="", stream=stream, keep_alive=keep_alive)
        body = json.loads(response.text)
        assert (body["done"], body["done_reason"], body["response"]) == (True, reason, "")
        assert server.engine.requests == []
        assert server.router.stopped == (["echo"] if reason == "unload" else [])


async def test_the_model_s_own_defaults_come_before_the_api_s(serve):
    """What neither says is as Ollama has it."""
    async with serve() as server:
        await generate(server, options={"seed": -1, "num_predict": -1, "top_k": -1})
        sampling = server.engine.request.sampling
        assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.8, 0.9, 0)
        assert (sampling.seed, sampling.max_tokens) == (None, None)
