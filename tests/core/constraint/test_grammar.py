"""Constraints as grammars that a tokenizer's bytes can be checked against."""

import json
from types import SimpleNamespace

import jsonschema
import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.constraint.compiler import ConstraintCompiler
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import Choice, JsonObject, JsonSchema, LarkGrammar, Regex
from aiadmin_core.testing.fake import ByteTokenizer

TOKENIZER = ByteTokenizer()
VOCABULARY = TOKENIZER.constraint_vocabulary()
COMPILER = ConstraintCompiler(TOKENIZER)


def reads(constraint, text):
    """How `constraint` takes `text`: how many bytes of it, and whether it may end there."""
    state = LLMatcher(VOCABULARY, to_grammar(AnswerShape(format=constraint), None, {}), log_level=0)
    assert not state.is_error(), state.get_error()
    n_taken = state.try_consume_tokens(list(text.encode()))
    return SimpleNamespace(n_taken=n_taken, accepts=n_taken == len(text.encode()) and state.is_accepting())


def refusal(constraint):
    with pytest.raises(BadRequest) as caught:
        COMPILER.matchers(AnswerShape(format=constraint), 1)
    assert caught.value.param == "constraint"
    return caught.value.message


@pytest.mark.parametrize("value", [{}, {"a": 1, "b": [1, {"c": None}]}, {"é": "🙂\n"}])
@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
def test_json_mode_takes_any_object_compact_or_indented(value, indent):
    assert reads(JsonObject(), json.dumps(value, indent=indent, ensure_ascii=False)).accepts
    assert reads(JsonObject(), json.dumps(value, separators=(",", ":"), ensure_ascii=False)).accepts


@pytest.mark.parametrize("text", ["[]", "1", '"a"', " {}", "x", "{} {}"])
def test_json_mode_takes_nothing_but_an_object(text):
    assert not reads(JsonObject(), text).accepts


@pytest.mark.parametrize("start", ["{", '{"a":', '{"a":1', '{"a":1,', '{"a":[', '{"a":{}'])
@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\n ", "\n\t"])
def test_white_space_cannot_run_on(start, blank):
    """A model that is fond of blanks would fill the context with them."""
    taken = reads(JsonObject(), start + blank * 200).n_taken
    assert taken - len(start) <= 41


def test_white_space_after_the_object_is_not_part_of_it():
    assert reads(JsonObject(), "{}\n").n_taken == 2


def test_a_json_schema_is_kept_to():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    assert reads(JsonSchema(schema=schema), '{"n": 12}').accepts
    assert not reads(JsonSchema(schema=schema), '{"n": "a"}').accepts
    assert not reads(JsonSchema(schema=schema), "{}").accepts


def test_an_expression_matches_from_first_to_last_character():
    assert reads(Regex(r"[a-c]+\d"), "abc1").accepts
    assert not reads(Regex(r"[a-c]+\d"), "abc").accepts
    assert not reads(Regex(r"[a-c]+\d"), "abc1x").accepts


def test_a_choice_is_one_of_its_options_whatever_they_spell():
    options = Choice(("yes", 'a "quoted"\nline', "\\", "start: 1", "é", "\x00\x7f\u2028", "🙂"))

    assert all(reads(options, option).accepts for option in options.options)
    assert not reads(options, "no").accepts


def test_a_grammar_is_taken_as_it_is():
    assert reads(LarkGrammar('start: "a" b\nb: /[0-9]+/'), "a12").accepts


@pytest.mark.parametrize(
    ("constraint", "named"),
    [
        (JsonSchema(schema={"type": "array", "uniqueItems": True}), "uniqueItems"),
        (JsonSchema(schema={"not": {"type": "string"}}), "not"),
        (JsonSchema(schema={"type": "string", "format": "color"}), "color"),
        (JsonSchema(schema={"type": "strin"}), "strin"),
        (JsonSchema(schema={"$ref": "http://example.org/x"}), "example.org"),
        (JsonSchema(schema={"$ref": "#/$defs/missing"}), "missing"),
        (JsonSchema(schema=False), "schema"),
        (JsonSchema(schema={"enum": [object()]}), "schema"),
        (Regex("[a"), "unclosed"),
        (Regex("(?=a)b"), "look-ahead"),
        (LarkGrammar("start: foo"), "foo"),
        (LarkGrammar("no grammar"), ""),
        (Choice(()), "option"),
    ],
)
def test_what_cannot_be_enforced_is_refused_and_named(constraint, named):
    assert named.lower() in refusal(constraint).lower()


def test_real_schemas_compile_or_are_refused_by_the_keyword(shared_data):
    """270 schemas from JSONSchemaBench; the refused ones name what llguidance does not implement."""
    refused = {}
    paths = sorted((shared_data / "jsonschemabench").glob("*.json"))
    assert len(paths) == 270
    for path in paths:
        schema = json.loads(path.read_text(encoding="utf-8"))
        try:
            COMPILER.matchers(AnswerShape(format=JsonSchema(schema=schema)), 1)
        except BadRequest as error:
            refused[path.stem] = error.message

    assert len(refused) <= 30
    known = ("oneOf", "format", "uniqueItems", "dependencies", "Unimplemented keys", "circular", "$ref")
    assert [message for message in refused.values() if not any(word in message for word in known)] == []


def test_schemas_are_enforced_as_validators_read_them(shared_data):
    """The shortest document each grammar allows is valid under its schema."""
    for path in sorted((shared_data / "jsonschemabench").glob("Github_easy*.json"))[:20]:
        schema = json.loads(path.read_text(encoding="utf-8"))
        document = shortest(JsonSchema(schema=schema))
        if document is not None:
            jsonschema.validate(json.loads(document), schema)


def shortest(constraint):
    """A document found by closing whatever is open as soon as possible; None if that takes too long."""
    try:
        state = LLMatcher(VOCABULARY, to_grammar(AnswerShape(format=constraint), None, {}), log_level=0)
    except BadRequest:
        return None
    text = b""
    preferred = b'"}]0123456789{[:,' + bytes(range(32, 127))
    while not state.is_error() and len(text) < 2000:
        if state.is_accepting():
            return text.decode()
        mask = state.compute_bitmask()
        allowed = [byte for byte in preferred if mask[byte // 8] >> (byte % 8) & 1]
        state.consume_token(allowed[0])
        text += bytes(allowed[:1])
    return None
