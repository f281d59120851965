"""OpenAI's own description of its API, and whether an answer is what it says. Loaded by conftest.py."""

import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import yaml

SPEC = Path(__file__).parents[2] / "shared" / "data" / "openai" / "openapi.yaml"
ANSWERS = {
    "/v1/chat/completions": ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"),
    "/v1/completions": ("CreateCompletionResponse", "CreateCompletionResponse"),
    "/v1/embeddings": ("CreateEmbeddingResponse", ""),
    "/v1/models": ("ListModelsResponse", ""),
}
"""The components of a whole answer and of a chunk."""
MOST = 100
"""Events of a stream that are checked, at its beginning and at its end: a few tests stream without end."""


@functools.cache
def described() -> dict[str, Any]:
    """The schemas of OpenAI's description, as JSON schemas."""
    return {name: with_null(schema) for name, schema in document()["components"]["schemas"].items()}


@functools.cache
def document() -> dict[str, Any]:
    """The description as it is, but where it forbids what OpenAI itself answers."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read: dict[str, Any] = yaml.load(SPEC.read_text(encoding="utf-8"), Loader=loader)
    _describe_what_openai_sends(read["components"]["schemas"])
    return read


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


def components_of(path: str) -> tuple[str, str] | None:
    """Of a whole answer and of a chunk; None for a path that OpenAI does not describe, or is not looked at here."""
    return ("Model", "") if path.startswith("/v1/models/") else ANSWERS.get(path)


def check_answer(path: str, status: int, content_type: str, body: str) -> None:
    """Raises where what `path` answers is not what OpenAI says it is."""
    if (components := components_of(path)) is None:
        return
    whole, chunk = components
    if status >= 400:
        check("ErrorResponse", json.loads(body))
    elif content_type.startswith("application/json"):
        check(whole, json.loads(body))
    elif content_type.startswith("text/event-stream"):
        told = list(events(body))
        for event in told[:MOST] + told[MOST:][-MOST:]:
            check("ErrorResponse" if "error" in event else chunk, event)


def events(body: str) -> Iterator[Any]:
    """What each event that came whole says."""
    for event in body.split("\n\n")[:-1]:
        for line in event.splitlines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


async def check_response(response: httpx.Response) -> None:
    """As a hook of a client: raises before anyone reads an answer that is none, and at the end of such a stream."""
    path, content_type = response.request.url.path, response.headers.get("content-type", "")
    if response.request.method == "HEAD" or components_of(path) is None:
        return  # a stream of another API may have no end
    if content_type.startswith("text/event-stream"):
        kind = type("CheckedStream", (Checked, *type(response.stream).__bases__), {})  # httpx's, or its fork's
        response.stream = kind(response.stream, lambda text: check_answer(path, 200, content_type, text))
        return
    await response.aread()
    check_answer(path, response.status_code, content_type, response.text)


class Checked:
    """A stream that is read as it comes, and checked once it has been."""

    def __init__(self, stream: Any, check: Callable[[str], None]) -> None:
        self._stream, self._check = stream, check

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read: list[bytes] = []
        async for piece in self._stream:
            read.append(piece)
            yield piece
        self._check(b"".join(read).decode())

    async def aclose(self) -> None:
        await self._stream.aclose()
