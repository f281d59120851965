"""Whatever a test here is answered is checked against OpenAI's own description."""

import contextlib
import functools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

SPEC = Path(__file__).parents[5] / "shared" / "data" / "openai" / "openapi.yaml"
ANSWERS = {
    "/v1/chat/completions": ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"),
    "/v1/completions": ("CreateCompletionResponse", "CreateCompletionResponse"),
    "/v1/embeddings": ("CreateEmbeddingResponse", ""),
    "/v1/models": ("ListModelsResponse", ""),
}
"""The components of a whole answer and of a chunk."""


@functools.cache
def described() -> dict[str, Any]:
    """The schemas of OpenAI's description, as JSON schemas."""
    yaml = pytest.importorskip("yaml")
    if not SPEC.exists():
        pytest.skip("OpenAI's description is not beside this checkout")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    schemas: dict[str, Any] = yaml.load(SPEC.read_text(encoding="utf-8"), Loader=loader)["components"]["schemas"]
    _describe_what_openai_sends(schemas)
    return {name: with_null(schema) for name, schema in schemas.items()}


def _describe_what_openai_sends(schemas: dict[str, Any]) -> None:
    """Where the description forbids what OpenAI itself answers, and its clients read."""
    choice = schemas["CreateCompletionResponse"]["properties"]["choices"]["items"]["properties"]
    choice["finish_reason"]["nullable"] = True  # in every chunk but a choice's last
    logprobs = choice["logprobs"]["anyOf"][0]["properties"]
    for name in ("token_logprobs", "top_logprobs"):
        logprobs[name]["items"]["nullable"] = True  # of an echoed prompt's first token
    usage = schemas["CreateCompletionResponse"]["properties"]["usage"]
    schemas["CreateCompletionResponse"]["properties"]["usage"] = {"anyOf": [usage, {"type": "null"}]}  # in a chunk
    call = schemas["ChatCompletionMessageToolCallChunk"]["properties"]
    call["type"]["enum"].append("custom")  # calls of custom tools are streamed, too
    numbers = schemas["Embedding"]["properties"]["embedding"]
    schemas["Embedding"]["properties"]["embedding"] = {"anyOf": [numbers, {"type": "string"}]}  # base64


def with_null(schema: Any) -> Any:
    """`nullable` of OpenAPI 3.0, still in the description, in the words of JSON schema."""
    if isinstance(schema, list):
        return [with_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: with_null(value) for key, value in schema.items()}
    return {"anyOf": [read, {"type": "null"}]} if schema.get("nullable") is True else read


@functools.cache
def validator(component: str) -> Any:
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{component}", "components": {"schemas": described()}}
    )


def check(component: str, value: Any) -> None:
    """Raises where `value` is no `component`."""
    error = jsonschema.exceptions.best_match(validator(component).iter_errors(value))
    assert error is None, f"no {component}: {error.json_path}: {error.message} in {json.dumps(value)[:500]}"


def check_answer(path: str, status: int, content_type: str, body: str) -> None:
    """Raises where what `path` answers is not what OpenAI says it is."""
    whole, chunk = ANSWERS.get(path, ("Model" if path.startswith("/v1/models/") else "", ""))
    if not whole:
        return
    if status >= 400:
        check("ErrorResponse", json.loads(body))
    elif content_type.startswith("application/json"):
        check(whole, json.loads(body))
    elif content_type.startswith("text/event-stream"):
        for event in events(body):
            check("ErrorResponse" if "error" in event else chunk, event)


def events(body: str) -> Iterator[Any]:
    for line in body.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


async def check_response(response: httpx.Response) -> None:
    """As a hook of a client, before anyone reads the answer; streams of OpenAI's client are left to it, piece by
    piece."""
    content_type = response.headers.get("content-type", "")
    is_openais = response.request.headers.get("x-stainless-lang")
    if response.request.method == "HEAD" or (is_openais and content_type.startswith("text/event-stream")):
        return
    await response.aread()
    check_answer(response.request.url.path, response.status_code, content_type, response.text)


@pytest.fixture
def serve(serve: Any) -> Any:
    """The server of `tests/server`, whose answers are checked."""

    @contextlib.asynccontextmanager
    async def serving(**asked: Any) -> AsyncIterator[Any]:
        async with serve(**asked) as server:
            for client in (server.http, server.openai._client):
                client.event_hooks = {"response": [check_response]}
            yield server

    return serving


@pytest.fixture(scope="session")
def schemas() -> dict[str, Any]:
    """The schemas of OpenAI's own description."""
    return described()
