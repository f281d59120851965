"""`/v1/completions` over HTTP."""

import asyncio
import json

import pytest
from openai.types import Completion

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import (
    Alternative,
    Finished,
    PromptScored,
    PromptToken,
    Started,
    TextDelta,
    TokenLogprob,
    Usage,
)
from aiadmin_core.specs.request import TextInput, TokensInput


async def repeating(request):
    """Says its prompt backwards."""
    yield Started(request.id, 2)
    text = request.input.text if isinstance(request.input, TextInput) else str(request.input.tokens)
    for choice in range(request.n):
        yield TextDelta(request.id, text[::-1], choice=choice)
        await asyncio.sleep(0)
        yield Finished(request.id, "length", Usage(prompt_tokens=2, completion_tokens=1), choice=choice)


def chunks_of(text: str) -> list[dict]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


async def test_a_whole_answer_is_a_text_completion(serve):
    async with serve(script=repeating) as server:
        body = (await server.complete(prompt="abc")).json()
        Completion.model_validate(body, strict=True)
        assert body["choices"] == [{"index": 0, "text": "cba", "logprobs": None, "finish_reason": "length"}]
        assert body["usage"]["total_tokens"] == 3
        answer = await server.openai.completions.create(model="echo", prompt="abc")
        assert answer.choices[0].text == "cba"


async def test_sixteen_tokens_where_nothing_is_said(serve):
    """OpenAI's default for this endpoint."""

    async with serve() as server:
        await server.complete()
        assert server.engine.request.sampling.max_tokens == 16


@pytest.mark.parametrize("stream", [False, True])
async def test_several_prompts_give_choices_in_their_order(serve, stream):
    """Each prompt has n choices, numbered through; the usage counts every prompt once."""

    async with serve(script=repeating) as server:
        response = await server.complete(
            prompt=["ab", "cd", "ef"],
            n=2,
            stream=stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        )
        texts = [""] * 6
        bodies = chunks_of(response.text) if stream else [response.json()]
        for body in bodies:
            for choice in body["choices"]:
                texts[choice["index"]] += choice["text"]
        assert texts == ["ba", "ba", "dc", "dc", "fe", "fe"]
        assert bodies[-1]["usage"]["prompt_tokens"] == 6
        assert bodies[-1]["usage"]["completion_tokens"] == 6
        assert len({request.id for request in server.engine.requests}) == 3


async def test_several_prompts_are_answered_at_the_same_time(serve):
    """None waits for another: each goes on only when all have begun."""
    n_begun = 0
    everybody = asyncio.Event()

    async def meeting(request):
        nonlocal n_begun
        n_begun += 1
        if n_begun == 3:
            everybody.set()
        await everybody.wait()
        yield Finished(request.id, "stop")

    async with serve(script=meeting) as server, asyncio.timeout(10):
        assert (await server.complete(prompt=["a", "b", "c"])).status_code == 200


async def test_one_failing_prompt_fails_the_request(serve):
    async def picky(request):
        if request.input.text == "bad":
            raise ZeroDivisionError
        await asyncio.Event().wait()
        yield Finished(request.id, "stop")

    async with serve(script=picky) as server, asyncio.timeout(10):
        assert (await server.complete(prompt=["good", "bad"])).status_code == 500
        await server.router.released.wait()


async def test_prompts_of_tokens(serve):
    async with serve(script=repeating) as server:
        await server.complete(prompt=[1, 2, 3])
        assert server.engine.request.input == TokensInput(tokens=(1, 2, 3))
        server.engine.requests.clear()
        await server.complete(prompt=[[1], [2, 3]])
        assert [request.input.tokens for request in server.engine.requests] == [(1,), (2, 3)]


@pytest.mark.parametrize("stream", [False, True])
async def test_echo_gives_the_prompt_back_first(serve, stream):
    async with serve(script=repeating) as server:
        response = await server.complete(prompt=["ab", "cd"], echo=True, stream=stream)
        texts = ["", ""]
        for body in chunks_of(response.text) if stream else [response.json()]:
            for choice in body["choices"]:
                texts[choice["index"]] += choice["text"]
        assert texts == ["abba", "cddc"]


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_have_offsets_into_the_text(serve, stream):
    async def likely(request):
        for token, text in enumerate(("ab", "c")):
            other = Alternative(9, b"z", -3.0)
            yield TextDelta(request.id, text, logprobs=(TokenLogprob(token, text.encode(), -1.0, (other,)),))
            await asyncio.sleep(0.01)
        yield Finished(request.id, "stop")

    async with serve(script=likely) as server:
        response = await server.complete(logprobs=1, stream=stream)
        bodies = chunks_of(response.text) if stream else [response.json()]
        found = [body["choices"][0]["logprobs"] for body in bodies if body["choices"][0]["logprobs"]]
        assert [offset for item in found for offset in item["text_offset"]] == [0, 2]
        assert [token for item in found for token in item["tokens"]] == ["ab", "c"]
        assert [top for item in found for top in item["top_logprobs"]] == [{"z": -3.0}] * 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [10**30]}, "prompt"),
        ({"prompt": [1], "suffix": "x"}, "suffix"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 3, "n": 2, "stream": True}, "best_of"),
        ({"best_of": 9}, "best_of"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 6}, "logprobs"),
    ],
)
async def test_what_cannot_be_done_is_named(serve, fields, param):
    async with serve() as server:
        response = await server.complete(**fields)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1], "echo": True}, "echo"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
async def test_an_engine_that_scores_no_prompts_says_so(serve, fields, param):
    able = Capabilities(inputs=frozenset({"text", "tokens"}), max_logprobs=5)

    async with serve(capabilities=able) as server:
        error = (await server.complete(**fields)).json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", param)


async def scoring(request):
    """Every token is a byte, told in two pieces; an answer, where there is one, is "!"."""
    other = Alternative(9, b"z", -3.0)
    yield PromptScored(request.id, (PromptToken(0, b"<s>"), PromptToken(1, b"\xc3", -1.0, (other,))))
    yield PromptScored(request.id, (PromptToken(2, b"\xbc", -2.0, (other,)),))
    yield Started(request.id, 3)
    for choice in range(request.n):
        if not request.reads_only:
            yield TextDelta(request.id, "!", choice, (TokenLogprob(3, b"!", -0.5, (other,)),))
        yield Finished(request.id, "length", Usage(prompt_tokens=3, completion_tokens=not request.reads_only), choice)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["ü", [0, 1, 2]])
@pytest.mark.parametrize("max_tokens", [0, 1])
async def test_a_prompt_is_scored(serve, stream, prompt, max_tokens):
    """What a tokenizer puts in front of a text is no part of it: it begins where the text does."""
    async with serve(script=scoring) as server:
        response = await server.complete(
            prompt=[prompt] * 2, echo=True, logprobs=1, max_tokens=max_tokens, n=2, stream=stream
        )
        bodies = chunks_of(response.text) if stream else [response.json()]
        assert [request.score_prompt for request in server.engine.requests] == [True, True]

    written = "ü" if prompt == "ü" else "<s>ü"
    at = len(written) - 1
    for index in range(4):
        choices = [choice for body in bodies for choice in body["choices"] if choice["index"] == index]
        found = [choice["logprobs"] for choice in choices if choice["logprobs"]]
        assert "".join(choice["text"] for choice in choices) == written + "!" * max_tokens
        assert choices[-1]["finish_reason"] == "length"
        lists = {name: [item for one in found for item in one[name]] for name in found[0]}
        assert lists == {
            "tokens": ["<s>", r"bytes:\xc3", r"bytes:\xbc", *["!"] * max_tokens],
            "token_logprobs": [None, -1.0, -2.0, *[-0.5] * max_tokens],
            "top_logprobs": [None, *[{"z": -3.0}] * (2 + max_tokens)],
            "text_offset": [0, at, at, *[at + 1] * max_tokens],
        }
    if not stream:
        assert bodies[0]["usage"]["completion_tokens"] == 4 * max_tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_given_back_as_text_without_log_probabilities(serve, stream):
    async with serve(script=scoring) as server:
        response = await server.complete(prompt=[0, 1, 2], echo=True, max_tokens=1, stream=stream)
        choices = [body["choices"][0] for body in (chunks_of(response.text) if stream else [response.json()])]
        assert "".join(choice["text"] for choice in choices) == "<s>ü!"
        assert all(choice["logprobs"] is None for choice in choices)


async def test_no_tokens_are_asked_for(serve):
    async with serve() as server:
        await server.complete(max_tokens=0)
        assert (server.engine.request.reads_only, server.engine.request.score_prompt) == (True, False)


async def test_an_engine_for_conversations_only_refuses_the_prompt(serve):
    async with serve(capabilities=Capabilities()) as server:
        response = await server.complete()
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "prompt"


@pytest.mark.parametrize("logprobs", [None, 1])
async def test_the_best_are_those_with_the_likeliest_tokens(serve, logprobs):
    """Of four choices of each prompt two are given out, best first; all are paid for."""
    likelihood = {0: -3.0, 1: -1.0, 2: -4.0, 3: -2.0}

    async def varied(request):
        for choice in range(request.n):
            # the longer an answer, the lower its sum: only the mean counts
            for _ in range(5 - choice):
                token = TokenLogprob(choice, b"x", likelihood[choice])
                yield TextDelta(request.id, f"{request.input.text}{choice}", choice=choice, logprobs=(token,))
            yield Finished(request.id, "stop", Usage(prompt_tokens=1, completion_tokens=1), choice=choice)

    async with serve(script=varied) as server:
        body = (await server.complete(prompt=["a", "b"], n=2, best_of=4, logprobs=logprobs)).json()
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
        assert [choice["text"][:2] for choice in body["choices"]] == ["a1", "a3", "b1", "b3"]
        assert all((choice["logprobs"] is not None) == (logprobs is not None) for choice in body["choices"])
        assert body["usage"]["completion_tokens"] == 8


async def test_best_of_is_what_is_refused_where_an_engine_cannot_compare(serve):
    able = Capabilities(inputs=frozenset({"text"}), max_choices=4)

    async with serve(capabilities=able) as server:
        assert (await server.complete(best_of=2)).json()["error"]["param"] == "best_of"
