"""The OpenAPI document says what the handlers take and give, a plugin's too."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from msgspec import Struct

from aiadmin_server.http.openapi import Described, completed, described

ANYTHING = [[], {}, "text", 1, -1, 1.5, True, None, [None], [1], ["a"], {"a": {"b": []}}, "", 10**30]
STRUCTURAL = ("Invalid value for", "Missing required parameter", "must be between", "the field is unknown")
"""How a refusal begins or ends that concerns names, types and ranges, and not what the fields mean together."""
LEAST = {
    "/v1/chat/completions": {"model": "echo", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "echo", "prompt": "hi"},
    "/api/stop": {"model": "echo"},
}


async def document(server) -> dict[str, Any]:
    response = await server.http.get("/schema/openapi.json")
    assert response.status_code == 200
    return response.json()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def examples(schema: dict[str, Any], components: dict[str, Any], depth: int = 4) -> Iterator[Any]:
    """Some instances that `schema` accepts, every alternative once at least where `depth` allows."""
    if reference := schema.get("$ref"):
        schema = components[reference.rpartition("/")[2]]
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from examples(one, components, depth)
    elif "enum" in schema:
        yield from schema["enum"]
    elif schema.get("type") == "object" and depth:
        fields = {
            name: list(examples(one, components, depth - 1)) for name, one in schema.get("properties", {}).items()
        }
        required = {name: fields[name][0] for name in schema.get("required", ()) if fields[name]}
        yield required
        for name, values in fields.items():
            for value in values:
                yield required | {name: value}
    elif schema.get("type") == "array" and depth:
        yield []
        yield from ([item] for item in examples(schema.get("items", {}), components, depth - 1))
    else:
        yield {"string": "a", "integer": 1, "number": 0.5, "boolean": True, "null": None}.get(schema.get("type"), {})


def without_each(value: Any) -> Iterator[Any]:
    """`value` without one of its fields, at any depth, and with one field too many."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield {other: value[other] for other in value if other != name}
            yield from (value | {name: changed} for changed in without_each(item))
        yield value | {"one_too_many": 1}
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in without_each(item))


async def test_the_document_is_whole_and_every_schema_is_one(serve):
    async with serve() as server:
        found = await document(server)
    assert found["openapi"].startswith("3.1")
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/api/ps", "/health"} <= set(found["paths"])
    schemas = found["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(found)} == set(schemas)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    chat = found["paths"]["/v1/chat/completions"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert chat["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].endswith("/Envelope")
    assert found["paths"]["/api/ps"]["get"]["responses"]["default"]["content"]["application/json"]["schema"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("path", LEAST)
async def test_what_the_document_accepts_the_handler_accepts_and_the_other_way_round(serve, path, strict):
    """Names, types, ranges, what is required and what may be null: for instances made of the schema and of anything."""
    async with serve(ignore_unknown_fields=not strict) as server:
        found = await document(server)
        components = found["components"]["schemas"]
        schema = found["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        root = components[schema["$ref"].rpartition("/")[2]]
        validator = jsonschema.Draft202012Validator(schema | {"components": {"schemas": components}})
        bodies = [LEAST[path], *without_each(LEAST[path])]
        for name, field in root["properties"].items():
            made = list(examples(field, components))
            bodies += [LEAST[path] | {name: value} for value in (*ANYTHING, *made)]
            bodies += [LEAST[path] | {name: changed} for value in made[:40] for changed in without_each(value)]
        distinct = {json.dumps(body): body for body in bodies if body.get("stream") is not True}
        n_accepted = n_refused = 0
        for text, body in distinct.items():
            response = await server.http.post(path, content=text)
            accepted = validator.is_valid(body)
            if response.status_code == 400:
                told = response.json()["error"]
                message = told if isinstance(told, str) else told["message"]
                if any(words in message for words in STRUCTURAL):  # another refusal says nothing of the structure
                    assert not accepted, (text, message)
                    n_refused += 1
                continue
            assert response.status_code in (200, 404), (text, response.text)
            assert accepted, (text, response.text)
            n_accepted += 1
        assert min(n_refused, n_accepted) >= len(root["properties"])


class Item(Struct, frozen=True, kw_only=True):
    number: int


class Answer(Struct, frozen=True, kw_only=True):
    item: Item


def test_a_schema_of_the_same_name_that_litestar_made_stays_beside_ours():
    litestar_s = {"$ref": "#/components/schemas/Item"}
    plain = {"get": {"responses": {"200": {"content": {"application/json": {"schema": litestar_s}}}}}}
    made = {
        "paths": {"/plain": plain, "/ours": {"post": {}}},
        "components": {"schemas": {"Item": {"type": "object", "title": "Litestar's"}, "Unused": {"type": "object"}}},
    }
    told = described(Item, Answer, ranges={"number": (1, 9)})["described"]
    assert isinstance(told, Described)
    found = completed(made, [("/ours", "post", told)], lambda path: None, strict=True)
    schemas = found["components"]["schemas"]
    assert set(schemas) == {"Item", "Item_", "Answer"}
    assert schemas["Item_"]["title"] == "Litestar's"
    assert schemas["Item"]["properties"]["number"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert found["paths"]["/plain"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Item_"
    }


@pytest.mark.parametrize("path", ["/schema", "/schema/", "/schema/swagger", "/schema/openapi.yaml"])
async def test_what_is_not_there_below_the_document_is_an_error_like_any_other(serve, path):
    async with serve() as server:
        missing = await server.http.get(path)
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")
        assert "error" in missing.json()
        assert (await server.http.get("/schema/openapi.json")).status_code == 200
