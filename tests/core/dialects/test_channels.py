"""Families whose answers are messages with a recipient, or elements: thoughts, what is said and calls, told apart."""

import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.dialects.choice import to_shape
from aiadmin_core.dialects.dialect import CallPiece, Thought
from aiadmin_core.dialects.find import Speech
from aiadmin_core.dialects.functionary import Functionary
from aiadmin_core.dialects.kimi import Kimi
from aiadmin_core.dialects.muse import Muse
from aiadmin_core.dialects.tools.nested import MARK, NestedTags
from aiadmin_core.specs.constraint import JsonObject
from aiadmin_core.specs.content import Message, TextPart, Tool
from aiadmin_core.specs.request import ChatInput, GenerateRequest, ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer

VOCABULARY = ByteTokenizer().constraint_vocabulary()
PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "n": {"type": "array", "items": {"type": "integer"}}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOLS = (Tool(name="f", description="Does.", parameters=PARAMETERS), Tool(name="g", parameters=PARAMETERS))
K3_CALL = (
    '<|open|>tools<|sep|><|open|>call tool="f" index="1"<|sep|><|open|>argument key="a" type="string"<|sep|>x<|close|>'
    'argument<|sep|><|open|>argument key="n" type="array"<|sep|>[1, 2]<|close|>argument<|sep|><|close|>call<|sep|>'
    "<|close|>tools<|sep|>"
)
K3_SAID = "<|open|>response<|sep|>Hello.<|close|>response<|sep|>"
MUSE_CALL = (
    ' to=f<|message|><atem:function_calls>\n<atem:invoke name="f">\n<atem:parameter name="a">x</atem:parameter>\n'
    '<atem:parameter name="n">[1, 2]</atem:parameter>\n</atem:invoke>\n</atem:function_calls>'
)
M3_CALL = (
    f'{MARK}<tool_call>\n{MARK}<invoke name="f">{MARK}<a>x{MARK}</a>{MARK}<n>{MARK}<item>1{MARK}</item>'
    f"{MARK}<item>2{MARK}</item>{MARK}</n>{MARK}</invoke>\n{MARK}</tool_call>"
)
CALL = ["f", '{"a": "x", "n": [1, 2]}']
THINK = "<|open|>message<|sep|><|open|>think<|sep|>"
EXAMPLES = {
    "functionary says": (Functionary(), ">>>", "all\nHello.", ("", "Hello.", [])),
    "functionary calls": (Functionary(), ">>>", 'f\n{"a": "x", "n": [1, 2]}', ("", "", [CALL])),
    "functionary does both": (
        Functionary(),
        ">>>",
        'all\nHello.>>>f\n{"a": "x", "n": [1, 2]}>>>g\n{"a": ">>>"}',
        ("", "Hello.", [CALL, ["g", '{"a": ">>>"}']]),
    ),
    "kimi says": (Kimi(), THINK, f"Hm.<|close|>think<|sep|>{K3_SAID}", ("Hm.", "Hello.", [])),
    "kimi calls": (Kimi(), THINK, f"Hm.<|close|>think<|sep|>{K3_CALL}", ("Hm.", "", [CALL])),
    "kimi does both": (Kimi(), THINK, f"<|close|>think<|sep|>{K3_SAID}{K3_CALL}", ("", "Hello.", [CALL])),
    "muse says": (
        Muse(),
        "<|start|>assistant",
        " to=self<|message|>Hm.<|eom|><|start|>assistant to=user<|message|>Hello.<|eot|>",
        ("Hm.", "Hello.", []),
    ),
    "muse calls twice": (
        Muse(),
        "<|start|>assistant",
        f"{MUSE_CALL}<|eom|><|start|>assistant{MUSE_CALL}",
        ("", "", [CALL, CALL]),
    ),
    "nested tags": (NestedTags(), "", M3_CALL, ("", "", [CALL])),
    "nested tags behind a text": (NestedTags(), "", f"Hello.{M3_CALL}", ("", "Hello.", [CALL])),
}


def read(dialect, tail, text, n_at_once):
    parser = dialect.parser(tail, TOOLS)
    thought, said, calls = "", "", []
    pieces = [piece for at in range(0, len(text), n_at_once) for piece in parser.feed(text[at : at + n_at_once])]
    for piece in (*pieces, *parser.end("")):
        if isinstance(piece, Thought):
            thought += piece.text
        elif isinstance(piece, str):
            said += piece
        elif isinstance(piece, CallPiece) and piece.name is not None:
            calls.append([piece.name, piece.arguments])
        else:
            calls[-1][1] += piece.arguments
    return thought, said, calls


def takes(dialect, tail, text, choice, format=None):
    chat = ChatInput(messages=(Message(role="user", content=(TextPart("?"),)),), tools=TOOLS)
    speech = Speech(reasoning=dialect if dialect.reasoning else None, calls=dialect)
    shape = to_shape(GenerateRequest(id=1, input=chat, tool_choice=choice, constraint=format), speech, {})
    state = LLMatcher(VOCABULARY, to_grammar(shape, speech.before_answer(tail, {}), {}), log_level=0)
    assert not state.is_error(), state.get_error()
    return state.try_consume_tokens([*text.encode()]) == len(text.encode()) and state.is_accepting()


@pytest.mark.parametrize("n_at_once", [1, 4, 10_000])
@pytest.mark.parametrize("name", EXAMPLES)
def test_thoughts_texts_and_calls_are_told_apart(name, n_at_once):
    dialect, tail, text, expected = EXAMPLES[name]

    assert read(dialect, tail, text, n_at_once) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_such_a_model_writes_is_taken_where_it_may_call_and_calls_where_it_has_to(name):
    dialect, tail, text, (_, said, calls) = EXAMPLES[name]
    text = text.removesuffix("<|eot|>").removesuffix("<|close|>response<|sep|>")

    assert takes(dialect, tail, text, ToolChoice())
    assert takes(dialect, tail, text, ToolChoice(mode="required")) or not calls or said
    assert calls or not takes(dialect, tail, text, ToolChoice(mode="required"))
    assert (
        not takes(dialect, tail, text.replace("[1", "[true").replace("<item>1", "<item>x"), ToolChoice()) or not calls
    )


@pytest.mark.parametrize("dialect", [Functionary(), Kimi(), Muse(), NestedTags()])
def test_an_answer_may_be_kept_to_a_format_beside_tools(dialect):
    header = dialect.answer_header

    assert takes(dialect, "", header + '{"b": 1}', ToolChoice(), JsonObject())
    assert not takes(dialect, "", header + "no", ToolChoice(), JsonObject())
