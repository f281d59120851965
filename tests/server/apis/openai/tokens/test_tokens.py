"""`/v1/tokenize`, `/v1/detokenize` and `/v1/chat/completions/input_tokens` over HTTP."""

import pytest

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.request import ChatInput, GenerateRequest

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
MESSAGES = [{"role": "user", "content": "hi"}]


async def post(server, path, **fields):
    return await server.http.post(path, json={"model": "echo"} | fields)


@pytest.mark.parametrize("path", ["/v1/tokenize", "/tokenize"])
async def test_a_text_is_tokenized_as_vllm_tells_it(serve, path):
    async with serve() as server:
        body = (await post(server, path, prompt="hé", return_token_strs=True)).json()
        assert body == {
            "count": 3,
            "max_model_len": 4096,
            "tokens": [104, 195, 169],
            "token_strs": ["h", "bytes:\\xc3", "bytes:\\xa9"],
        }
        assert server.engine.tokenized == [("hé", {"special": True, "around": True})]
        assert "token_strs" not in (await post(server, path, prompt="hi")).json()


async def test_a_text_is_tokenized_as_llama_server_tells_it(serve):
    async with serve() as server:
        body = (await post(server, "/tokenize", content="hé", with_pieces=True, parse_special=False)).json()
        pieces = [{"id": 104, "piece": "h"}, {"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}]
        assert body["tokens"] == pieces
        await post(server, "/tokenize", content="a", add_special=True)
        asked = [how for _, how in server.engine.tokenized]
        assert asked == [{"special": False, "around": False}, {"special": True, "around": True}]


async def test_a_conversation_is_tokenized_as_a_chat_would_read_it(serve):
    async with serve() as server:
        fields = {"messages": MESSAGES, "tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}}
        body = (await post(server, "/v1/tokenize", **fields)).json()
        await server.chat(**fields)
        (asked, _), answered = server.engine.tokenized[0], server.engine.request
        assert (body["count"], body["tokens"]) == (3, [1, 2, 3])
        assert isinstance(asked, GenerateRequest)
        assert asked.input == answered.input
        assert isinstance(asked.input, ChatInput)
        assert asked.input.tools[0].name == "f"


@pytest.mark.parametrize("path", ["/v1/detokenize", "/detokenize"])
async def test_tokens_become_text(serve, path):
    async with serve() as server:
        assert (await post(server, path, tokens=[104, 195, 169])).json() == {"prompt": "hé", "content": "hé"}
        assert (await post(server, path, tokens=[])).json()["content"] == ""
        assert (await post(server, path, tokens=[195])).json()["content"] == "\ufffd"


async def test_input_tokens_takes_whatever_a_chat_completion_does(serve):
    async with serve() as server:
        asked = {
            "messages": MESSAGES,
            "tools": TOOLS,
            "stream": True,
            "n": 2,
            "max_tokens": 5,
            "reasoning_effort": "low",
        }
        response = await post(server, "/v1/chat/completions/input_tokens", **asked)
        assert response.json() == {"object": "response.input_tokens", "input_tokens": 3}
        await server.chat(**asked)
        (counted, _), answered = server.engine.tokenized[0], server.engine.request
        assert (counted.input, counted.reasoning_effort) == (answered.input, answered.reasoning_effort)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/tokenize", {}, "prompt"),
        ("/v1/tokenize", {"prompt": "a", "content": "b"}, "content"),
        ("/v1/tokenize", {"prompt": "a", "messages": MESSAGES}, "messages"),
        ("/v1/tokenize", {"messages": []}, "messages"),
        ("/v1/tokenize", {"messages": MESSAGES, "add_special_tokens": True}, "add_special_tokens"),
        ("/v1/tokenize", {"messages": MESSAGES, "add_generation_prompt": False}, "add_generation_prompt"),
        ("/v1/tokenize", {"prompt": "a", "tools": TOOLS}, "tools"),
        ("/v1/tokenize", {"prompt": 5}, "prompt"),
        ("/v1/detokenize", {"tokens": [-1]}, "tokens"),
        ("/v1/detokenize", {"tokens": [10**30]}, "tokens"),
        ("/v1/detokenize", {"tokens": "a"}, "tokens"),
        ("/v1/detokenize", {}, "tokens"),
        ("/v1/chat/completions/input_tokens", {}, "messages"),
        ("/v1/chat/completions/input_tokens", {"messages": MESSAGES, "n": 99}, "n"),
    ],
)
async def test_what_cannot_be_tokenized_is_refused_by_name(serve, path, fields, param):
    async with serve() as server:
        response = await post(server, path, **fields)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("path", ["/v1/tokenize", "/tokenize", "/v1/chat/completions/input_tokens"])
async def test_a_model_that_does_not_tell_its_tokens_is_refused(serve, path):
    async with serve(capabilities=Capabilities()) as server:
        response = await post(server, path, **({"prompt": "a"} if "chat" not in path else {"messages": MESSAGES}))
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "model"
        assert "tokens" in response.json()["error"]["message"]


async def test_nothing_is_counted_as_read(serve):
    async with serve() as server:
        await post(server, "/v1/tokenize", prompt="a b c")
        page = (await server.http.get("/metrics")).text
        assert "aiadmin_prompt_tokens_total{" not in page
