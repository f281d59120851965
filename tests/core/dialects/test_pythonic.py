"""Calls as Python writes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.dialects.dialect import CallPiece
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.dialects.tools.pythonic import Pythonic
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 7}, "warm": {"type": "boolean"}},
    "required": ["days"],
}
TOOLS = [Tool(name="f", parameters=PARAMETERS), Tool(name="now")]
VOCABULARY = ByteTokenizer().constraint_vocabulary()


def read(text, n_at_once=10_000):
    parser = Pythonic().parser("", TOOLS)
    pieces = [piece for at in range(0, len(text), n_at_once) for piece in parser.feed(text[at : at + n_at_once])]
    pieces += parser.end("")
    calls = [(piece.name, json.loads(piece.arguments)) for piece in pieces if isinstance(piece, CallPiece)]
    return "".join(piece for piece in pieces if isinstance(piece, str)), calls


@pytest.mark.parametrize("n_at_once", [1, 5, 10_000])
def test_calls_are_read_as_python_and_as_json(n_at_once):
    text = 'Hm. <|tool_call_start|>[f(city="K\\n", days=3, warm=True), a.g(x={"n": [null, false]})]<|tool_call_end|> ok'

    calls = [("f", {"city": "K\n", "days": 3, "warm": True}), ("a.g", {"x": {"n": [None, False]}})]
    assert read(text, n_at_once) == ("Hm.  ok", calls)


def test_it_is_recognised(shared_data):
    source = (shared_data / "chat_templates" / "LFM2-8B-A1B.jinja").read_text(encoding="utf-8")

    assert find_speech(ChatTemplate(source), OURS).calls.name == "pythonic"


@pytest.mark.parametrize(
    ("inside", "taken"),
    [
        ("[f(days=3)]", True),
        ('[f(city="K \\"x\\"", days=3, warm=True), now()]', True),
        ("[f(days=9)]", False),
        ("[f()]", False),
        ("[g(days=3)]", False),
    ],
)
def test_its_grammar_keeps_calls_to_their_schemas(inside, taken):
    grammar = Pythonic().call_grammar(TOOLS, ToolChoice(), {})
    encoded = to_grammar(AnswerShape(calls=grammar, required=True), None, {})
    state = LLMatcher(VOCABULARY, encoded, log_level=0)
    assert not state.is_error(), state.get_error()
    tokens = list(f"<|tool_call_start|>{inside}<|tool_call_end|>".encode())

    assert (state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()) == taken


NO_CALLS = ("[f(3)]", "[f(**x)]", "f", "[f(x=y)]", "(", "[f(x=1]", "1 + 1")


@pytest.mark.parametrize("inside", NO_CALLS)
def test_what_is_no_call_is_text(inside):
    text = f"<|tool_call_start|>{inside}<|tool_call_end|>"

    assert read(text) == (text, [])


@given(
    st.lists(st.sampled_from([*Pythonic().markers, "[", "]", "f(", ")", "x=", "1", ",", "<|"]), max_size=14).map(
        "".join
    )
)
def test_anything_is_read_alike_however_it_is_cut(text):
    assert read(text) == read(text, 1) == read(text, 3)
