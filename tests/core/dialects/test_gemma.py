"""Gemma 4's calls, in a notation of its own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.dialects.dialect import CallPiece
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.dialects.tools.gemma import Gemma
from aiadmin_core.specs.content import Message, TextPart, Tool, ToolCall
from aiadmin_core.specs.request import ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate

ARGUMENTS = {"city": 'Köln, {"x"}', "days": 3, "warm": True, "tags": ["a", "b]"], "more": {"n": [1.5, None]}}
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "maximum": 7},
        "warm": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "more": {"type": "object"},
    },
    "required": ["days"],
}
TOOLS = [Tool(name="f", description="d", parameters=PARAMETERS)]


def read(text, n_at_once=10_000):
    parser = Gemma().parser("", TOOLS)
    pieces = [piece for at in range(0, len(text), n_at_once) for piece in parser.feed(text[at : at + n_at_once])]
    pieces += parser.end("")
    calls = [(piece.name, json.loads(piece.arguments)) for piece in pieces if isinstance(piece, CallPiece)]
    return "".join(piece for piece in pieces if isinstance(piece, str)), calls


@pytest.fixture(scope="module")
def written(shared_data):
    """What the template writes for a call."""
    source = (shared_data / "chat_templates" / "google-gemma-4-31B-it.jinja").read_text(encoding="utf-8")
    speech = find_speech(ChatTemplate(source), OURS)
    assert (speech.calls.name, speech.reasoning.name) == ("gemma", "gemma")
    call = ToolCall(id="1", name="f", arguments=json.dumps(ARGUMENTS))
    messages = [Message(role="user", content=(TextPart("?"),)), Message(role="assistant", tool_calls=(call,))]
    rendered = ChatTemplate(source).render(messages, TOOLS)
    start = rendered.rindex("<|tool_call>")
    return rendered[start : rendered.rindex("<tool_call|>") + len("<tool_call|>")]


@pytest.mark.parametrize("n_at_once", [1, 5, 10_000])
def test_what_the_template_writes_is_read_back(written, n_at_once):
    assert read(f"Hm. {written}{written} ok", n_at_once) == ("Hm.  ok", [("f", ARGUMENTS)] * 2)


@pytest.mark.parametrize("control", [(), Gemma.markers])
def test_its_grammar_takes_what_the_template_writes_and_keeps_to_the_schema(written, control):
    tokenizer = ByteTokenizer(more_control_tokens=control)
    grammar = Gemma().call_grammar(TOOLS, ToolChoice(), tokenizer.control_tokens)
    shape = AnswerShape(calls=grammar, required=True)
    encoded = to_grammar(shape, None, dict(tokenizer.control_tokens))

    def takes(text):
        state = LLMatcher(tokenizer.constraint_vocabulary(), encoded, log_level=0)
        assert not state.is_error(), state.get_error()
        tokens = tokenizer.encode(text, special=True)
        return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()

    assert takes(written)
    assert takes("<|tool_call>call:f{days:3}<tool_call|>")
    assert not takes("<|tool_call>call:f{days:9}<tool_call|>")
    assert not takes("<|tool_call>call:f{}<tool_call|>")
    assert not takes("<|tool_call>call:g{days:3}<tool_call|>")


NO_CALLS = ("<|tool_call>call:f", "<|tool_call>f{}<tool_call|>", "<|tool_call>call:f{a}<tool_call|>")


@pytest.mark.parametrize("text", NO_CALLS)
def test_what_is_no_call_is_text(text):
    assert read(text) == (text, [])


WORDS = ("call:f{", "a:", "}", "[", "]", ",", "1", "x", "<|")


@given(st.lists(st.sampled_from([*Gemma.markers, *WORDS]), max_size=14).map("".join))
def test_anything_is_read_alike_however_it_is_cut(text):
    assert read(text) == read(text, 1) == read(text, 3)


def takes(tool, text):
    """Whether `text` is a call of `tool` where there has to be one."""
    grammar = Gemma().call_grammar([tool], ToolChoice(mode="required"), {})
    state = LLMatcher(
        ByteTokenizer().constraint_vocabulary(),
        to_grammar(AnswerShape(calls=grammar, required=True), None, {}),
        log_level=0,
    )
    assert not state.is_error(), state.get_error()
    written = f"<|tool_call>{text}<tool_call|>".encode()
    return state.try_consume_tokens([*written]) == len(written) and state.is_accepting()


def test_values_in_lists_and_objects_keep_to_their_schemas_too():
    place = {"type": "object", "properties": {"kind": {"enum": ["town", "lake"]}, "at": {"$ref": "#/$defs/at"}}}
    parameters = {
        "type": "object",
        "properties": {"days": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "place": place},
        "required": ["days"],
        "$defs": {"at": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "items": False}},
    }
    tool = Tool(name="f", parameters=parameters)
    place["required"] = ["kind"]

    assert takes(tool, 'call:f{days:[1,2],place:{at:[1.5,<|"|>N<|"|>],kind:<|"|>town<|"|>}}')
    assert takes(tool, "call:f{days:[1]}")
    assert not takes(tool, "call:f{days:[]}")
    assert not takes(tool, 'call:f{days:[<|"|>x<|"|>]}')
    assert not takes(tool, 'call:f{days:[1],place:{kind:<|"|>sea<|"|>}}')
    assert not takes(tool, "call:f{days:[1],place:{}}")
