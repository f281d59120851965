"""Schemas as the usual generators write them: all that zod (4's `toJSONSchema`, 3's zod-to-json-schema) has for texts,
and pydantic's field types. `generators.json` has them with documents that they accept and refuse."""

import json
from pathlib import Path

import jsonschema
import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.lark import styled
from aiadmin_core.testing.fake import ByteTokenizer

VOCABULARY = ByteTokenizer().constraint_vocabulary()
GENERATORS = json.loads((Path(__file__).parent / "generators.json").read_text(encoding="utf-8"))
EXAMPLES = [(generator, name) for generator, schemas in GENERATORS.items() for name in schemas]


def takes(compiled, document):
    state = compiled.deep_copy()
    encoded = list(json.dumps(document, ensure_ascii=False).encode())
    return state.try_consume_tokens(encoded) == len(encoded) and state.is_accepting()


@pytest.mark.parametrize(("generator", "name"), EXAMPLES)
def test_what_a_generator_writes_is_enforced(generator, name):
    example = GENERATORS[generator][name]
    schema = example["schema"]
    compiled = LLMatcher(VOCABULARY, json.dumps({"grammars": [{"json_schema": styled(schema)}]}), log_level=0)
    assert not compiled.is_error(), compiled.get_error()

    assert [value for value in example["valid"] if not takes(compiled, {"a": value})] == []
    assert [value for value in example["invalid"] if takes(compiled, {"a": value})] == []


def test_the_examples_are_what_they_say_they_are():
    """As far as `jsonschema` knows: its expressions have no properties of Unicode."""
    for generator, name in EXAMPLES:
        example = GENERATORS[generator][name]
        if "\\p{" in json.dumps(example["schema"]):
            continue
        validator = jsonschema.Draft202012Validator(example["schema"])
        for value in example["valid"]:
            validator.validate({"a": value})
