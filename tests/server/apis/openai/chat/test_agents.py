"""What real coding agents ask first and second, to a small model with a real tokenizer.

Those that speak OpenAI's chat completions are answered as they are; codex speaks its responses, claude-code Anthropic's
messages, and both are translated here first.
"""

import contextlib
import json

import pytest

from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.testing.opening import open_for_test

pytestmark = pytest.mark.real_model


@pytest.fixture
async def serve_tiny(serve, tiny_gguf):
    """`await serve_tiny(n_ctx)`: with more than it was trained for, what it says means nothing anyway."""
    async with contextlib.AsyncExitStack() as stack:

        async def serving(n_ctx):
            engine = open_for_test("llamacpp", str(tiny_gguf), EngineOptions(n_ctx=n_ctx, rope_scaling="linear"))
            stack.push_async_callback(engine.close)
            server = await stack.enter_async_context(serve(script=engine.generate, capabilities=engine.capabilities))
            server.router.names = ("smollm2",)
            return server

        yield serving


@pytest.fixture
def body_of(shared_data):
    def reading(name):
        recorded = json.loads((shared_data / "agents" / f"{name}.json").read_text(encoding="utf-8"))
        body = recorded.get("body", recorded)
        agent = name.partition("-")[0]
        return {"codex": from_responses, "claude_code": from_messages}.get(agent, dict)(body)

    return reading


def from_responses(body):
    """A request for `/v1/responses`, for `/v1/chat/completions`."""
    kept = {key: body[key] for key in ("model", "stream", "tool_choice", "parallel_tool_calls", "prompt_cache_key")}
    messages = []
    for item in body["input"]:
        match item["type"]:
            case "message":
                parts = [{"type": "text", "text": part["text"]} for part in item["content"]]
                messages.append({"role": item["role"], "content": parts})
            case "function_call":
                messages.append(calling(item["call_id"], item["name"], item["arguments"]))
            case "function_call_output":
                messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
    tools = []
    for tool in body["tools"]:
        for one in tool.get("tools", [tool] if tool["type"] == "function" else []):
            prefix = f"{tool['name']}__" if "tools" in tool else ""
            function = {key: one[key] for key in ("description", "parameters", "strict") if key in one}
            tools.append({"type": "function", "function": {"name": prefix + one["name"]} | function})
    return kept | {"messages": messages, "tools": tools}


def from_messages(body):
    """A request for `/v1/messages`, for `/v1/chat/completions`."""
    kept = {key: body[key] for key in ("model", "stream", "max_tokens")}
    messages = [{"role": "system", "content": [{"type": "text", "text": part["text"]} for part in body["system"]]}]
    for message in body["messages"]:
        parts = message["content"]
        if isinstance(parts, str):
            messages.append(message)
            continue
        for part in parts:
            match part["type"]:
                case "text":
                    messages.append({"role": message["role"], "content": part["text"]})
                case "tool_use":
                    messages.append(calling(part["id"], part["name"], json.dumps(part["input"])))
                case "tool_result":
                    result = {"role": "tool", "tool_call_id": part["tool_use_id"], "content": part["content"]}
                    messages.append(result)
    tools = [
        {
            "type": "function",
            "function": {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]},
        }
        for tool in body["tools"]
    ]
    return kept | {"messages": messages, "tools": tools}


def calling(id, name, arguments):
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def ask(server, body):
    """The usage told at the end of the streamed answer to a request, which is sent as it is but for its length."""
    limit = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
    response = await server.http.post("/v1/chat/completions", json=body | {limit: 24})
    assert response.status_code == 200, response.text
    assert "x-ignored-params" not in response.headers
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(item) for item in data[:-1]]
    assert not any("error" in chunk for chunk in chunks)
    (reason,) = [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert reason in ("length", "stop", "tool_calls")
    return next((chunk["usage"] for chunk in chunks if chunk.get("usage")), None)


async def test_a_second_turn_reads_only_what_is_new(serve_tiny, body_of):
    server = await serve_tiny(16384)
    for agent in ("opencode", "codex", "claude_code"):
        first = await ask(server, body_of(f"{agent}-1") | {"stream_options": {"include_usage": True}})
        second = await ask(server, body_of(f"{agent}-2") | {"stream_options": {"include_usage": True}})
        assert first["prompt_tokens"] > 2000, agent
        cached = second["prompt_tokens_details"]["cached_tokens"]
        # All that both share: the turn that generation begins with is written again before the assistant's call.
        assert cached >= first["prompt_tokens"] - 8, agent
        assert second["prompt_tokens"] - cached < 150, agent


async def test_requests_without_a_second_turn_are_answered_too(serve_tiny, body_of):
    server = await serve_tiny(4096)
    for name in ("opencode-title-1", "aider-1", "claude_code-print_bare-1"):
        await ask(server, body_of(name))


async def test_what_does_not_fit_is_refused_with_both_numbers(serve_tiny, body_of):
    server = await serve_tiny(4096)
    for agent in ("opencode", "codex", "claude_code"):
        response = await server.http.post("/v1/chat/completions", json=body_of(f"{agent}-1"))
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
        n_ctx, n_prompt = (int(word) for word in error["message"].replace(".", "").split() if word.isdigit())
        assert n_ctx == 4096 < n_prompt
