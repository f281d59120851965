"""Schemas from the field, through an engine: an answer is valid, or a 400 names the keyword before anything is made."""

import asyncio
import json
import random

import jsonschema
import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import JsonSchema
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import TextDelta
from aiadmin_core.specs.model import ModelFacts, ModelSpec
from aiadmin_core.specs.request import ChatInput, GenerateRequest
from aiadmin_core.testing.fake import END, FakeTokenEngine

CHAT = ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),))
ONE = {"type": "integer"}


def draws(seed):
    """A model that takes any token it is allowed, the end soonest."""

    def script(request, choice):
        draw = random.Random(seed)
        while True:
            bits = request.matchers[choice].mask().view("uint8")
            allowed = [8 * i + bit for i in bits.nonzero()[0] for bit in range(8) if bits[i] >> bit & 1]
            soon = [token for token in (END, *b'"}],') if token in allowed]
            yield draw.choice(soon if soon and draw.random() < 0.5 else allowed)

    return script


def answer(schema, seed=0):
    async def main():
        engine = FakeTokenEngine(script=draws(seed), facts=ModelFacts(n_ctx=20_000, n_vocab=259))
        whole = assemble(engine, ModelSpec(name="fake", digest="", format="other", files=()), dialects=())
        request = GenerateRequest(id=1, input=CHAT, constraint=JsonSchema(schema=schema))
        try:
            events = [event async for event in whole.generate(request)]
        except BadRequest:
            assert engine.submitted == []
            raise
        finally:
            await whole.close()
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    return asyncio.run(main())


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {"score": ONE},
            "patternProperties": {"^score$": {"minimum": 0}},
            "required": ["score"],
            "additionalProperties": False,
        },
        {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": ONE},  # z.record()
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": ONE},
        {"type": "string", "format": "password"},
        {"type": "string", "format": "binary"},
        {"type": "integer", "format": "int32"},
        {"type": "number", "format": "double"},
        {"type": "string", "format": "e-mail of mine"},
        {"type": "string", "format": "email", "pattern": r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_+-.]*)[A-Za-z0-9_+-]@x\.de$"},
    ],
)
def test_an_answer_is_valid(schema):
    for seed in range(3):
        jsonschema.validate(json.loads(answer(schema, seed)), schema)


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"$ref": "#/$defs/n", "$defs": {"n": {"$ref": "#/$defs/n"}}}, "#/$ref"),
        ({"allOf": [{"$ref": "#"}]}, "$ref"),
        ({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, "#/properties/a/$ref"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=x)a"}}}, "#/properties/a/pattern"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "a("}}}, "#/properties/a/pattern"),
        (
            {
                "type": "object",
                "properties": {"score": ONE},
                "patternProperties": {"^score$": {"type": "string"}},
                "required": ["score"],
            },
            "score",
        ),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "#/uniqueItems"),
        ({"type": "object", "propertyNames": False, "required": ["a"], "additionalProperties": ONE}, "a"),
        ({"enum": []}, "#"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "enforced"),
        ({"type": "objekt"}, "objekt"),
        ({"properties": {"a": {"$ref": 3}}}, "#/properties/a/$ref"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused_before_anything_is_generated(schema, named):
    with pytest.raises(BadRequest) as caught:
        answer(schema)
    assert named in caught.value.message
    assert caught.value.param == "constraint"
