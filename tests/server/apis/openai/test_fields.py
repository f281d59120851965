"""Every property of OpenAI's request schemas is honoured, has no effect, or is refused by name. None is a 500."""

from typing import Any

import msgspec
import pytest

from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.apis.openai.completions.wire import CompletionRequest
from aiadmin_server.apis.openai.embeddings.wire import EmbeddingRequest

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

# A value that asks for something, and what becomes of it: a function of the engine's request that must hold, "none"
# for no effect, or "refused".
CHAT: dict[str, tuple[Any, Any]] = {
    "messages": ([{"role": "user", "content": "hi"}], lambda r: len(r.messages) == 1),
    "model": ("gpt-4o", lambda r: True),
    "audio": ({"voice": "alloy", "format": "wav"}, "refused"),
    "frequency_penalty": (0.5, lambda r: r.sampling.frequency_penalty == 0.5),
    "function_call": ({"name": "f"}, lambda r: r.tool_choice.names == ("f",)),
    "functions": ([{"name": "f"}], lambda r: r.input.tools[0].name == "f"),
    "logit_bias": ({"42": -100}, lambda r: r.sampling.logit_bias == {42: -100}),
    "logprobs": (True, lambda r: r.sampling.logprobs == 0),
    "max_completion_tokens": (7, lambda r: r.sampling.max_tokens == 7),
    "max_tokens": (8, lambda r: r.sampling.max_tokens == 8),
    "metadata": ({"a": "b"}, "none"),
    "modalities": (["text", "audio"], "refused"),
    "moderation": ({"model": "omni-moderation-latest"}, "refused"),
    "n": (2, lambda r: r.n == 2),
    "parallel_tool_calls": (False, lambda r: not r.tool_choice.parallel),
    "prediction": ({"type": "content", "content": [{"type": "text", "text": "hi"}]}, lambda r: r.prediction == "hi"),
    "presence_penalty": (-0.5, lambda r: r.sampling.presence_penalty == -0.5),
    "prompt_cache_key": ("key", lambda r: (r.cache_key, r.cache_salt) == ("key", "")),
    "prompt_cache_options": ({"ttl": "30m"}, "refused"),
    "prompt_cache_retention": ("24h", "refused"),
    "reasoning_effort": ("high", lambda r: r.reasoning_effort == "high"),
    "response_format": ({"type": "json_object"}, lambda r: r.constraint is not None),
    "safety_identifier": ("somebody", "none"),
    "seed": (-5, lambda r: r.sampling.seed == -5),
    "service_tier": ("priority", "refused"),
    "stop": (["a", "b"], lambda r: r.sampling.stop == ("a", "b")),
    "store": (True, "refused"),
    "stream": (True, lambda r: True),
    "stream_options": ({"include_usage": True}, lambda r: True),
    "temperature": (0, lambda r: r.sampling.temperature == 0),
    "tool_choice": ("required", lambda r: r.tool_choice.mode == "required"),
    "tools": (TOOLS, lambda r: r.input.tools[0].name == "f"),
    "top_logprobs": (3, lambda r: r.sampling.logprobs == 3),
    "top_p": (0.5, lambda r: r.sampling.top_p == 0.5),
    "user": ("somebody", "none"),
    "verbosity": ("high", "none"),  # a hint: named in a header
    "web_search_options": ({}, "refused"),
}
COMPLETION: dict[str, tuple[Any, Any]] = {
    "model": ("gpt-4o", lambda r: True),
    "prompt": ("hello", lambda r: r.input.text == "hello"),
    "best_of": (3, lambda r: (r.n, r.sampling.logprobs) == (3, 0)),
    "echo": (True, lambda r: r.score_prompt),
    "frequency_penalty": (0.5, lambda r: r.sampling.frequency_penalty == 0.5),
    "logit_bias": ({"42": 1.5}, lambda r: r.sampling.logit_bias == {42: 1.5}),
    "logprobs": (2, lambda r: r.sampling.logprobs == 2),
    "max_tokens": (7, lambda r: r.sampling.max_tokens == 7),
    "n": (2, lambda r: r.n == 2),
    "presence_penalty": (0.5, lambda r: r.sampling.presence_penalty == 0.5),
    "seed": (5, lambda r: r.sampling.seed == 5),
    "stop": ("a", lambda r: r.sampling.stop == ("a",)),
    "stream": (True, lambda r: True),
    "stream_options": ({"include_usage": True}, lambda r: True),
    "suffix": ("end", lambda r: r.input.suffix == "end"),
    "temperature": (0.5, lambda r: r.sampling.temperature == 0.5),
    "top_p": (0.5, lambda r: r.sampling.top_p == 0.5),
    "user": ("somebody", "none"),
}
# The same of what the engine was asked and what the client got: (inputs, truncate), body.
EMBEDDING: dict[str, tuple[Any, Any]] = {
    "model": ("gpt-4o", lambda asked, body: body["model"] == "gpt-4o"),
    "input": (["a", "b"], lambda asked, body: asked[0] == ("a", "b")),
    "dimensions": (1, lambda asked, body: body["data"][0]["embedding"] == [1.0]),
    "encoding_format": ("base64", lambda asked, body: isinstance(body["data"][0]["embedding"], str)),
    "user": ("somebody", "none"),
}
NEEDS = {
    "echo": {"logprobs": 1},
    "function_call": {"functions": [{"name": "f"}]},
    "stream_options": {"stream": True},
    "tool_choice": {"tools": TOOLS},
    "top_logprobs": {"logprobs": True},
}
TABLES = {"chat": CHAT, "complete": COMPLETION, "embed": EMBEDDING}
HARMLESS = {
    "modalities": ["text"],
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "in_memory",
    "service_tier": "auto",
    "store": False,
    "verbosity": "medium",
    "response_format": {"type": "text"},
    "tool_choice": "none",
    "stream": False,
    "best_of": 1,
}
WRONG = [[], {}, "text", 1.5, -1, True, [None], {"a": {"b": []}}, "", 10**30]


def properties(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The names of an object's properties, those it inherits included."""
    if reference := schema.get("$ref"):
        return properties(schemas[reference.rpartition("/")[2]], schemas)
    inherited = (properties(part, schemas) for part in schema.get("allOf", ()))
    return set(schema.get("properties", {})).union(*inherited)


@pytest.mark.parametrize(
    ("name", "table", "struct"),
    [
        ("CreateChatCompletionRequest", CHAT, ChatCompletionRequest),
        ("CreateCompletionRequest", COMPLETION, CompletionRequest),
        ("CreateEmbeddingRequest", EMBEDDING, EmbeddingRequest),
    ],
)
def test_the_tables_name_every_property(schemas, name, table, struct):
    described = properties(schemas[name], schemas)
    assert described == set(table)
    assert described <= {field.name for field in msgspec.structs.fields(struct)}


@pytest.mark.parametrize("endpoint", ["chat", "complete"])
async def test_every_property_is_honoured_without_effect_or_refused_by_name(serve, endpoint):
    table = CHAT if endpoint == "chat" else COMPLETION

    async with serve() as server:
        ask = getattr(server, endpoint)
        await ask()
        plain = msgspec.structs.replace(server.engine.request, id=0)
        for name, (value, expected) in table.items():
            server.engine.requests.clear()
            response = await ask(**NEEDS.get(name, {}), **{name: value})
            if expected == "refused":
                assert response.status_code == 400, (name, response.text)
                assert response.json()["error"]["code"] == "unsupported_parameter"
                assert response.json()["error"]["param"].startswith(name)
                continue
            assert response.status_code == 200, (name, response.text)
            if expected == "none":
                assert msgspec.structs.replace(server.engine.request, id=0) == plain
            else:
                assert expected(server.engine.request), name


async def test_every_property_of_embeddings_is_honoured_or_without_effect(serve):
    async with serve() as server:
        plain = (await server.embed()).json()
        for name, (value, expected) in EMBEDDING.items():
            response = await server.embed(**{name: value})
            assert response.status_code == 200, (name, response.text)
            if expected == "none":
                assert response.json() == plain
            else:
                assert expected(server.engine.embedded[-1], response.json()), name


@pytest.mark.parametrize("endpoint", ["chat", "complete", "embed"])
async def test_null_is_absent(serve, endpoint):
    table = TABLES[endpoint]
    required = {"model", "messages", "prompt", "input"}

    async with serve() as server:
        response = await getattr(server, endpoint)(**dict.fromkeys(set(table) - required), new_field=None)
        assert response.status_code == 200, response.text
        for name in required & set(table) - ({"prompt"} if endpoint == "complete" else set()):
            error = (await getattr(server, endpoint)(**{name: None})).json()["error"]
            assert error["param"] == name


async def test_values_that_ask_for_what_is_done_anyway_are_taken(serve):
    async with serve() as server:
        for name, value in HARMLESS.items():
            ask = server.complete if name == "best_of" else server.chat
            response = await ask(**{name: value})
            assert response.status_code == 200, (name, response.text)


@pytest.mark.parametrize("endpoint", ["chat", "complete", "embed"])
async def test_no_value_of_any_property_costs_a_500(serve, endpoint):
    """What is refused is a 400 that names the property."""
    table = TABLES[endpoint]
    extensions = ("keep_alive", "new_field")
    if endpoint == "embed":
        extensions += ("truncate",)
    else:
        extensions += ("top_k", "min_p", "chat_template_kwargs", "priority", "cache_salt")

    async with serve() as server:
        for name in (*table, *extensions):
            for value in WRONG:
                response = await getattr(server, endpoint)(**NEEDS.get(name, {}) | {name: value})
                assert response.status_code in (200, 400, 404), (name, value, response.text)
                if response.status_code == 400:
                    error = response.json()["error"]
                    assert error["param"].startswith(name), (name, value, error)
