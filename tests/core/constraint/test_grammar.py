"""Constraints as grammars that a tokenizer's bytes can be checked against."""

import json
from types import SimpleNamespace

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
def test_json_mode_takes_any_object_in_one_style(value):
    assert reads(JsonObject(), json.dumps(value, ensure_ascii=False)).accepts
    for style in ({"indent": 2}, {"separators": (",", ":")}):
        other = json.dumps(value, ensure_ascii=False, **style)
        assert reads(JsonObject(), other).accepts == (other == json.dumps(value, ensure_ascii=False))


def test_a_schema_may_ask_for_another_style():
    flexible = {"type": "object", "x-guidance": {"whitespace_flexible": True}}
    tight = {"type": "object", "x-guidance": {"whitespace_flexible": False, "item_separator": ",", "lenient": True}}

    assert reads(JsonSchema(schema=flexible), '{\n  "a": [1,  2]\n}').accepts
    assert reads(JsonSchema(schema=tight), '{"a":1,"b":2}').accepts


@pytest.mark.parametrize("start", ["{", '{"a"', '{"a": 1', '{"a": [', '{"a": {}'])
def test_a_model_that_is_fond_of_blanks_cannot_write_them(start):
    assert reads(JsonObject(), start + "  ").n_taken <= len(start)


@pytest.mark.parametrize("text", ["[]", "1", '"a"', " {}", "x", "{} {}"])
def test_json_mode_takes_nothing_but_an_object(text):
    assert not reads(JsonObject(), text).accepts


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
        (JsonSchema(schema={"not": {"multipleOf": 3}}), "#/not"),
        (JsonSchema(schema={"type": "string", "pattern": "a{1"}), "#/pattern"),
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


def test_a_grammar_that_was_seen_before_is_not_compiled_again(monkeypatch):
    shape = AnswerShape(format=JsonSchema(schema={"type": "object", "properties": {"seen": {}}}))
    COMPILER.matchers(shape, 1)
    monkeypatch.setattr("aiadmin_core.constraint.compiler.LLMatcher", None)

    assert len(COMPILER.matchers(shape, 2)) == 2
