"""Whatever comes back validates, or was cut by its length: schemas and tools of every kind, from a model with sense and
from random weights on both backends, whole and streamed.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product as every
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("kept")]

MODELS = ["smollm2", "tiny-llamacpp", "tiny-mlx"]
STREAMED = {"smollm2": [True], "tiny-llamacpp": [False, True], "tiny-mlx": [True]}
"""The quick one has both; test_calls_table.py compares them in every combination."""
TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    "required": ["name", "children"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, Any] = {
    "nested": {
        "type": "object",
        "properties": {
            "trip": {
                "type": "object",
                "properties": {
                    "stops": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 2,
                        "items": {
                            "type": "object",
                            "properties": {"city": {"enum": ["Bonn", "Köln"]}, "nights": {"type": "integer"}},
                            "required": ["city", "nights"],
                            "additionalProperties": False,
                        },
                    }
                },
                "required": ["stops"],
                "additionalProperties": False,
            }
        },
        "required": ["trip"],
        "additionalProperties": False,
    },
    "recursion": TREE,
    "recursion by definitions": {
        "$defs": {
            "node": {
                **TREE,
                "properties": {
                    **TREE["properties"],
                    "children": {
                        "anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1}]
                    },
                },
            }
        },
        "$ref": "#/$defs/node",
    },
    "anyOf of kinds": {
        "type": "object",
        "properties": {
            "shape": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}},
                        "required": ["kind", "radius"],
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "properties": {"kind": {"const": "square"}, "side": {"type": "number"}},
                        "required": ["kind", "side"],
                        "additionalProperties": False,
                    },
                ]
            }
        },
        "required": ["shape"],
        "additionalProperties": False,
    },
    "a large enum": {
        "type": "object",
        "properties": {"code": {"enum": [f"item-{n:04d}" for n in range(800)]}},
        "required": ["code"],
    },
    "unicode keys": {
        "type": "object",
        "properties": {"größe": {"type": "integer"}, "名前": {"enum": ["太郎", "花子"]}, '🙂 "x"': {"type": "boolean"}},
        "required": ["größe", "名前", '🙂 "x"'],
        "additionalProperties": False,
    },
    "open objects": {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": True},
    "a map": {
        "type": "object",
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 9},
        "minProperties": 1,
        "maxProperties": 3,
    },
    "lists": {
        "type": "object",
        "properties": {
            "tags": {
                "type": "array",
                "items": {"enum": ["a", "b", "c"]},
                "minItems": 2,
                "maxItems": 3,
                "uniqueItems": True,
            },
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "boolean"}],
                "items": False,
                "minItems": 2,
            },
        },
        "required": ["tags", "pair"],
        "additionalProperties": False,
    },
    "texts": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "format": "date-time"},
            "mail": {"type": "string", "format": "email", "maxLength": 30},
            "id": {"type": "string", "format": "uuid"},
            "short": {"type": "string", "minLength": 2, "maxLength": 5},
        },
        "required": ["code", "day", "at", "mail", "id", "short"],
        "additionalProperties": False,
    },
    "numbers": {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "even": {"type": "integer", "multipleOf": 2, "minimum": -10, "maximum": 10},
            "below": {"type": "number", "maximum": -2.5},
        },
        "required": ["age", "share", "even", "below"],
        "additionalProperties": False,
    },
}
CHECKER = jsonschema.FormatChecker()
ASKED = "Plan something for Köln, shortly."


@pytest.fixture(scope="module")
def client(
    product: Any, tiny_gguf: Path, tiny_mlx: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    own = product.clone(tmp_path_factory.mktemp("kept") / "state")
    own.run("pull", str(tiny_gguf), "--as", "tiny-llamacpp")
    own.run("pull", str(tiny_mlx), "--as", "tiny-mlx", "--in-place")
    with (
        own.serve(AIADMIN_MAX_LOADED_MODELS="3") as server,
        openai.OpenAI(base_url=server.base_url, api_key="-", max_retries=0, timeout=150) as client,
    ):
        yield client


def answers(client: openai.OpenAI, model: str, *, stream: bool, n: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Each choice's text, calls (names and arguments) and why it ended, whole or put together from its chunks."""
    given = {
        "model": model,
        "messages": [{"role": "user", "content": ASKED}],
        "max_tokens": 96,
        "temperature": 0.7,
        "seed": 7,
        "n": n,
        **options,
    }
    if not stream:
        found = client.chat.completions.create(**given)
        return [
            {
                "text": choice.message.content or "",
                "calls": [_call(call) for call in choice.message.tool_calls or ()],
                "reason": choice.finish_reason,
            }
            for choice in found.choices
        ]
    made: list[dict[str, Any]] = [{"text": "", "calls": [], "reason": None} for _ in range(n)]
    for chunk in client.chat.completions.create(stream=True, **given):
        for choice in chunk.choices:
            one = made[choice.index]
            one["text"] += choice.delta.content or ""
            one["reason"] = choice.finish_reason or one["reason"]
            for call in choice.delta.tool_calls or ():
                if call.index == len(one["calls"]):
                    one["calls"].append(["", ""])
                if call.function:
                    one["calls"][call.index][0] += call.function.name or ""
                    one["calls"][call.index][1] += call.function.arguments or ""
    return made


def _call(call: Any) -> list[str]:
    return [call.function.name, call.function.arguments]


def assert_valid(text: str, schema: Any) -> None:
    jsonschema.validate(json.loads(text), schema, format_checker=CHECKER)


def wrong(check: Callable[..., None], cases: Any) -> list[str]:
    """What is wrong with the cases, several asked at once."""

    def one(case: tuple[Any, ...]) -> str:
        try:
            check(*case)
        except (AssertionError, ValueError, jsonschema.ValidationError, openai.APIError) as error:
            return f"{case}: {error}"
        return ""

    with ThreadPoolExecutor(4) as pool:
        return [found for found in pool.map(one, cases) if found]


@pytest.mark.parametrize("model", MODELS)
def test_schemas_bind(client: openai.OpenAI, model: str) -> None:
    def check(name: str, stream: bool) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "plan", "schema": SCHEMAS[name]}}
        (one,) = answers(client, model, stream=stream, response_format=form)
        if one["reason"] == "stop":
            assert_valid(one["text"], SCHEMAS[name])
        else:
            assert one["reason"] == "length"

    assert wrong(check, every(SCHEMAS, STREAMED[model])) == []


@pytest.mark.parametrize("model", MODELS)
def test_a_long_object_is_json_up_to_its_limit(client: openai.OpenAI, model: str) -> None:
    for one in answers(client, model, stream=True, n=2, max_tokens=160, response_format={"type": "json_object"}):
        assert one["text"].lstrip().startswith("{")
        if one["reason"] == "stop":
            assert isinstance(json.loads(one["text"]), dict)
        else:
            assert one["reason"] == "length"


WEATHER, BOOK = SCHEMAS["nested"], SCHEMAS["numbers"]
PARAMETERS = {"weather": WEATHER, "book": BOOK}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": schema, "strict": True}}
    for name, schema in PARAMETERS.items()
]
NAMED = {"type": "function", "function": {"name": "book"}}
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
}
CHOICES: dict[str, tuple[Any, set[str]]] = {
    "auto": ("auto", set(PARAMETERS)),
    "required": ("required", set(PARAMETERS)),
    "named": (NAMED, {"book"}),
    "allowed": (ALLOWED, {"weather"}),
}
FORM = {"type": "json_schema", "json_schema": {"name": "shape", "schema": SCHEMAS["anyOf of kinds"], "strict": True}}


MORE: dict[str, dict[str, Any]] = {
    "alone": {},
    "one at a time": {"parallel_tool_calls": False},
    "with a schema for the answer": {"response_format": FORM},
}


@pytest.mark.parametrize("model", MODELS)
def test_calls_bind(client: openai.OpenAI, model: str) -> None:
    def check(choice: str, more: str, stream: bool) -> None:
        asked, names = CHOICES[choice]
        for one in answers(client, model, stream=stream, n=2, tools=TOOLS, tool_choice=asked, **MORE[more]):
            assert one["reason"] in ("stop", "length", "tool_calls")
            whole = one["calls"] if one["reason"] == "tool_calls" else one["calls"][:-1]
            for name, arguments in whole:
                assert name in names
                assert_valid(arguments, PARAMETERS[name])
            if more == "one at a time" or choice == "named":
                assert len(one["calls"]) <= 1
            if choice != "auto" and one["reason"] != "length":
                assert one["calls"]
                assert one["text"] == ""
            if more == "with a schema for the answer" and one["reason"] == "stop" and not one["calls"]:
                assert_valid(one["text"], SCHEMAS["anyOf of kinds"])

    assert wrong(check, every(CHOICES, MORE if model.startswith("tiny") else ["alone"], STREAMED[model])) == []
