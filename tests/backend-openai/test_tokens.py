"""Tokens of a model that is served elsewhere, as servers of several kinds tell them."""

import pytest

from aiadmin_core.errors import AiAdminError, UnsupportedParameter
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ChatInput, TextInput, TokensInput, ToolChoice
from aiadmin_openai.failures import UpstreamUnavailable


async def nothing_there(reply):
    await reply.status(404, {"error": {"message": "Not Found", "code": 404}})


async def vllm(reply):
    """https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#tokenizer-api, at the root."""
    if reply.request.path == "/tokenize":
        await reply.status(200, {"count": 3, "max_model_len": 4096, "tokens": [1, 2, 3]})
    else:
        await nothing_there(reply)


async def llama_server(reply):
    """https://github.com/ggml-org/llama.cpp/tree/master/tools/server, which leaves out what it does not know."""
    body = reply.request.body
    match reply.request.path:
        case "/tokenize":
            await reply.status(200, {"tokens": list(body.get("content", "").encode())})
        case "/apply-template":
            await reply.status(200, {"prompt": "<" + body["messages"][0]["content"] + ">"})
        case _:
            await nothing_there(reply)


async def test_vllm_is_asked_for_a_text_and_for_a_conversation(serve, open_engine, ask):
    tool = Tool(name="f", parameters={"type": "object"})
    async with serve(vllm) as upstream, open_engine(upstream.url) as engine:
        assert await engine.tokenize("hi", special=True, around=True) == [1, 2, 3]
        text = upstream.seen[-1].body
        assert await engine.tokenize(ask("Hi")) == [1, 2, 3]
        chat = upstream.seen[-1].body
        messages = ask("Hi").input.messages
        for mode, tools in (("auto", True), ("none", False)):
            await engine.tokenize(
                ask(input=ChatInput(messages=messages, tools=(tool,)), tool_choice=ToolChoice(mode=mode))
            )
            assert ("tools" in upstream.seen[-1].body) == tools

    assert text == {"model": "llama3", "prompt": "hi", "add_special_tokens": True, "parse_special": True}
    assert chat == {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}


async def test_llama_server_is_asked_by_its_own_names(serve, open_engine, ask):
    async with serve(llama_server) as upstream, open_engine(upstream.url) as engine:
        assert await engine.tokenize("hi", special=False) == list(b"hi")
        assert upstream.seen[-1].body == {"content": "hi", "add_special": False, "parse_special": False}
        assert await engine.tokenize(ask("Hi")) == list(b"<Hi>")
        assert upstream.seen[-1].body == {"content": "<Hi>", "add_special": True, "parse_special": True}


async def test_a_completions_prompt_is_counted_as_well(serve, open_engine, ask):
    async with serve(llama_server) as upstream, open_engine(upstream.url) as engine:
        assert await engine.tokenize(ask(input=TextInput(text="ab"))) == [97, 98]
        assert await engine.tokenize(ask(input=TokensInput(tokens=(7, 8)))) == [7, 8]


async def test_who_does_not_tell_them_is_refused_with_a_sentence(serve, open_engine, ask):
    async with serve(nothing_there) as upstream, open_engine(upstream.url) as engine:
        for asked in ("hi", ask("Hi")):
            with pytest.raises(UnsupportedParameter, match="does not tell its tokens") as caught:
                await engine.tokenize(asked)
            assert caught.value.param == "model"
        with pytest.raises(UnsupportedParameter, match="does not tell the bytes"):
            await engine.pieces([1])


@pytest.mark.parametrize("fields", [{"reasoning_effort": "low"}, {"truncate": True}])
async def test_a_count_that_would_be_wrong_is_refused(serve, open_engine, ask, fields):
    async with serve(vllm) as upstream, open_engine(upstream.url) as engine:
        with pytest.raises(UnsupportedParameter, match="counts no prompt"):
            await engine.tokenize(ask("Hi", **fields))
        with pytest.raises(UnsupportedParameter, match="control tokens"):
            await engine.tokenize("<|im_end|>", special=False)


async def test_another_upstream_is_asked_where_one_is_not_there_and_refusals_are_passed_on(serve, open_engine, nobody):
    async def unknown(reply):
        await reply.status(404, {"error": {"message": "The model `x` does not exist.", "param": "model"}})

    async with serve(vllm) as upstream, open_engine(nobody, upstream.url) as engine:
        assert [await engine.tokenize("hi", special=True) for _ in range(3)] == [[1, 2, 3]] * 3
    async with open_engine(nobody) as engine:
        with pytest.raises(UpstreamUnavailable):
            await engine.tokenize("hi")
    async with serve(unknown) as upstream, open_engine(upstream.url) as engine:
        with pytest.raises(AiAdminError, match="does not exist") as caught:
            await engine.tokenize("hi")
        assert caught.value.status == 404
