"""gpt-oss's format: thoughts, answer and calls in channels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.dialects.dialect import Thought
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.dialects.harmony import Harmony
from aiadmin_core.specs.constraint import JsonObject
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate

TOOLS = [Tool(name="f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})]
ANALYSIS = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
SAID = "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant"
TOKENIZER = ByteTokenizer(more_control_tokens=Harmony.markers)


def read(text, n_at_once=10_000, tools=TOOLS):
    parser = Harmony().parser("", tools)
    pieces = [piece for at in range(0, len(text), n_at_once) for piece in parser.feed(text[at : at + n_at_once])]
    found = {"thought": "", "text": "", "calls": []}
    for piece in [*pieces, *parser.end("")]:
        if isinstance(piece, Thought):
            found["thought"] += piece.text
        elif isinstance(piece, str):
            found["text"] += piece
        elif piece.name is not None:
            found["calls"].append([piece.name, piece.arguments])
        else:
            found["calls"][-1][1] += piece.arguments
    return found["thought"], found["text"], found["calls"]


@pytest.mark.parametrize("n_at_once", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        (f"{ANALYSIS}<|channel|>final<|message|>Two.<|return|>", ("Hm.", "Two.", [])),
        ("<|channel|>final<|message|>Two.", ("", "Two.", [])),
        ("Two.", ("", "Two.", [])),
        (
            f'{ANALYSIS}<|channel|>commentary to=functions.f <|constrain|>json<|message|>{{"a": 1}}<|call|>',
            ("Hm.", "", [["f", '{"a": 1}']]),
        ),
        (' to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>', ("", "", [["f", '{"a": 1}']])),
        (
            f"{SAID} to=functions.f<|channel|>commentary<|message|>{{}}<|call|>",
            ("", "I look.", [["f", "{}"]]),
        ),
        ("<|channel|>analysis<|message|>cut", ("cut", "", [])),
    ],
)
def test_messages_are_told_by_their_channels(text, read_as, n_at_once):
    assert read(text, n_at_once) == read_as


def test_its_template_is_recognised(shared_data):
    source = (shared_data / "chat_templates" / "openai-gpt-oss-120b.jinja").read_text(encoding="utf-8")
    speech = find_speech(ChatTemplate(source), OURS)

    assert speech.reasoning is speech.calls
    assert speech.calls.name == "harmony"


def takes(shape, text):
    before = Harmony().before_answer("", TOKENIZER.control_tokens)
    grammar = to_grammar(shape, before, dict(TOKENIZER.control_tokens))
    state = LLMatcher(TOKENIZER.constraint_vocabulary(), grammar, log_level=0)
    assert not state.is_error(), state.get_error()
    tokens = TOKENIZER.encode(text, special=True)
    return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()


def shape(*, required=False, format=None, calls=True):
    grammar = Harmony().call_grammar(TOOLS, ToolChoice(), TOKENIZER.control_tokens) if calls else None
    return AnswerShape(format=format, header=Harmony.answer_header, calls=grammar, required=required)


FINAL, CALL = "<|channel|>final<|message|>", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"


def test_its_grammar_keeps_calls_to_their_schemas_and_answers_to_their_format():
    assert takes(shape(required=True), f'{ANALYSIS}{CALL}{{"a": 1}}')
    assert takes(shape(required=True), ' to=functions.f<|channel|>commentary json<|message|>{"a": 1}')
    assert not takes(shape(required=True), f'{CALL}{{"a": "x"}}')
    assert not takes(shape(required=True), f"{FINAL}no")
    assert takes(shape(), f"{ANALYSIS}{FINAL}yes")
    assert takes(shape(), f'{SAID}{CALL}{{"a": 1}}')
    assert takes(shape(format=JsonObject(), calls=False), f'{ANALYSIS}{FINAL}{{"b": 1}}')
    assert not takes(shape(format=JsonObject(), calls=False), f"{FINAL}no")
    assert takes(shape(format=JsonObject()), f'{CALL}{{"a": 1}}')
    assert takes(shape(format=JsonObject()), f'{FINAL}{{"b": 1}}')


FRAGMENTS = st.sampled_from(
    [*Harmony.markers, "analysis", "final", "assistant", " to=functions.f", "<|", "x", "{}", "\n"]
)


@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_anything_is_read_alike_however_it_is_cut(text):
    assert read(text) == read(text, 1) == read(text, 3)
