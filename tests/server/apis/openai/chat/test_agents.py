"""The first requests of real coding agents, as they were sent, to a small model with a real tokenizer."""

import json

import pytest

from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.testing.opening import open_for_test

pytestmark = pytest.mark.real_model

REQUESTS = ("opencode-1", "opencode-2", "opencode-title-1", "aider-1")


@pytest.fixture
async def served(serve, tiny_gguf):
    """Its context is longer than its training was: what it says means nothing anyway."""
    engine = open_for_test("llamacpp", str(tiny_gguf), EngineOptions(n_ctx=16384, rope_scaling="linear"))
    async with serve(script=engine.generate, capabilities=engine.capabilities) as server:
        server.router.names = ("smollm2",)
        yield server
    await engine.close()


def body_of(shared_data, name):
    recorded = json.loads((shared_data / "agents" / f"{name}.json").read_text(encoding="utf-8"))
    return recorded.get("body", recorded)


async def ask(server, body):
    """The streamed answer of a request that is sent as it is: its choice's finish reason, and its usage."""
    response = await server.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(item) for item in data[:-1]]
    assert not any("error" in chunk for chunk in chunks)
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert len(reasons) == 1
    return reasons[0], next((chunk["usage"] for chunk in chunks if chunk.get("usage")), None), response


async def test_agents_requests_are_answered_as_they_are_and_a_second_turn_reads_only_what_is_new(served, shared_data):
    usages = {}
    for name in REQUESTS:
        body = body_of(shared_data, name)
        body = body | ({"max_tokens": 24} if "max_tokens" in body else {"max_completion_tokens": 24})
        reason, usages[name], response = await ask(served, body)
        assert reason in ("length", "stop", "tool_calls"), name
        assert "x-ignored-params" not in response.headers, name

    first, second = usages["opencode-1"], usages["opencode-2"]
    assert first["prompt_tokens"] > 2000
    cached = second["prompt_tokens_details"]["cached_tokens"]
    # All that both share: the turn that generation begins with is written again before the assistant's call.
    assert cached >= first["prompt_tokens"] - 8
    assert second["prompt_tokens"] - cached < 100
