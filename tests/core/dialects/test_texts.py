"""Tools that take a text with a grammar of its own, through every dialect."""

import json
import random
from contextlib import suppress

import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.dialects.choice import to_shape
from aiadmin_core.dialects.dialect import CallPiece
from aiadmin_core.dialects.find import OURS, Speech, find_speech
from aiadmin_core.dialects.tools.generic import GenericDialect
from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.content import Message, TextPart, Tool
from aiadmin_core.specs.request import ChatInput, GenerateRequest, ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate

VOCABULARY = ByteTokenizer().constraint_vocabulary()
LARK = r"""
start: line+
line: sum LF
sum: value (/[+*"\\\t]/ value)*
value: "x" | "(" sum ")" | STRING
STRING: /'[^'<|\[\n]{0,4}'/
%import common.LF
"""
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
SUM = Tool(name="add_up", description="Adds.", parameters=INPUT, strict=True, text_grammar=LARK)
OTHER = Tool(name="other", description="Another.", parameters={"type": "object", "properties": {}})

CLOSING = b"\nn)\"}]<|\\'x"
"""Bytes by which a text comes to its end."""


USER = Message(role="user", content=(TextPart("?"),))


def request(choice, *tools):
    chat = ChatInput(messages=(USER,), tools=tools or (OTHER, SUM))
    return GenerateRequest(id=1, input=chat, tool_choice=choice)


def draw(grammar, seed, begin=b""):
    """Bytes under the masks, first `begin`: seldom a long answer; None where it does not come to its end."""
    state = LLMatcher(VOCABULARY, grammar, log_level=0)
    assert not state.is_error(), state.get_error()
    taken = bytearray()
    picks = random.Random(seed)
    while len(taken) < 1000:
        mask = state.compute_bitmask()
        if state.is_stopped() or (state.is_accepting() and len(taken) > len(begin)):
            break
        allowed = [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]
        closing = [byte for byte in CLOSING if byte in allowed] if len(taken) > len(begin) + 100 else []
        byte = begin[len(taken)] if len(taken) < len(begin) else (closing or [picks.choice(allowed)])[0]
        assert byte in allowed, (bytes(taken), byte)
        state.consume_token(byte)
        taken.append(byte)
    return taken.decode() if state.is_accepting() else None


def takes(text):
    state = LLMatcher(VOCABULARY, json.dumps({"grammars": [{"lark_grammar": LARK}]}), log_level=0)
    return state.try_consume_tokens([*text.encode()]) == len(text.encode()) and state.is_accepting()


def read(speech, text, tail=""):
    parser = (speech if speech.reasoning is speech.calls else speech.calls).parser(tail, (OTHER, SUM))
    calls = []
    for piece in (*parser.feed(text), *parser.end("")):
        if isinstance(piece, CallPiece):
            calls += [[piece.name, ""]] if piece.name is not None else []
            calls[-1][1] += piece.arguments
    return [(name, json.loads(arguments)) for name, arguments in calls]


def speeches(shared_data):
    """By name, each with the end of a prompt."""
    yield "generic", Speech(calls=GenericDialect()), ""
    for path in sorted((shared_data / "chat_templates").glob("*.jinja")):
        template = ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>")
        with suppress(BadRequest):
            yield path.stem, find_speech(template, OURS), template.render([USER])[-80:]


CHOICES = {
    "named": ToolChoice(mode="required", names=("add_up",), parallel=False),
    "allowed": ToolChoice(mode="required", names=("add_up", "other"), parallel=False),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_text_keeps_to_its_grammar_in_every_dialect(shared_data, choice):
    forms = {}
    for name, speech, tail in speeches(shared_data):
        forms.setdefault(repr(getattr(speech.calls, "form", speech.calls.name)), (name, speech, tail))
    assert len(forms) > 20
    for name, speech, tail in forms.values():
        asked = CHOICES[choice]
        grammar = to_grammar(to_shape(request(asked), speech, {}), None, {})
        written = next(filter(None, (draw(grammar, seed) for seed in range(9))))  # some may say something first
        ((called, arguments),) = read(speech, written, tail)

        assert called in asked.names, name
        assert called == "other" or takes(arguments["input"]), (name, written)


@pytest.mark.parametrize("seed", range(5))
def test_a_call_that_a_model_begins_by_itself_keeps_to_it_too(seed):
    begin = b'Let me see. <tool_call>\n{"name": "add_up", "arguments": {"input": "'
    shape = to_shape(request(ToolChoice()), Speech(calls=GenericDialect()), {})
    ((_, arguments),) = read(Speech(calls=GenericDialect()), draw(to_grammar(shape, None, {}), seed, begin))

    assert takes(arguments["input"])


@pytest.mark.parametrize(
    "grammar", ["start: nobody", "start: /(/", "start: %json {}", 'start: "a"\n%ignore /#[^\\n]*/']
)
def test_a_grammar_that_cannot_be_kept_to_is_named(grammar):
    tool = Tool(name="f", parameters=INPUT, strict=True, text_grammar=grammar)
    with pytest.raises(BadRequest, match="tool 'f'") as caught:
        to_shape(request(ToolChoice(), OTHER, tool), Speech(calls=GenericDialect()), {})
    assert caught.value.param == "tools[1].text_grammar"


def test_a_model_without_grammars_for_calls_refuses_one():
    calls = GenericDialect()
    calls.call_grammar = lambda tools, choice, control_tokens: None
    with pytest.raises(UnsupportedParameter):
        to_shape(request(ToolChoice()), Speech(calls=calls), {})
