"""Pieces of Lark grammars, read by llguidance."""

import pytest

from aiadmin_core.constraint import lark
from aiadmin_core.constraint.compiler import ConstraintCompiler
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.specs.constraint import LarkGrammar
from aiadmin_core.testing.fake import ByteTokenizer

TOKENIZER = ByteTokenizer(more_control_tokens=["<tool_call>"])
TOOL_CALL = TOKENIZER.control_tokens["<tool_call>"]


def takes(rule, tokens):
    """Whether `start: rule` takes `tokens` and can end there."""
    (made,) = ConstraintCompiler(TOKENIZER).matchers(AnswerShape(format=LarkGrammar(f"start: {rule}")), 1)

    def allowed(token):
        return int(made.mask()[token // 32]) >> (token % 32) & 1

    for token in tokens:
        if not allowed(token):
            return False
        made.commit(token)
    return bool(allowed(TOKENIZER.eos))


@pytest.mark.parametrize("text", ["plain", '"quoted\\"', "\u2028\x7f\t\n", "<tool_call", "é🙂"])
def test_a_literal_is_exactly_its_text(text):
    assert takes(lark.literal(text), text.encode())
    assert not takes(lark.literal(text), text.encode()[:-1])


def test_a_marker_is_a_control_token_where_the_model_has_one():
    marker = lark.marker("<tool_call>", TOKENIZER.control_tokens)

    assert takes(marker, [TOOL_CALL])
    assert not takes(marker, b"<tool_call>")
    assert takes(lark.marker("<call>", TOKENIZER.control_tokens), b"<call>")


def test_json_keeps_to_its_schema_and_to_one_style():
    value = lark.json_value({"type": "object", "properties": {"a": {"type": "integer"}}})

    assert takes(value, b'{"a": 1}')
    assert not takes(value, b'{\n  "a": 1\n}')
    assert not takes(value, b'{"a": "x"}')
    assert not takes(value, b'{  "a": 1}')
