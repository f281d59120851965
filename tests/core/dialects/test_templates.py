"""The template is the truth: what it writes for calls is read back, and the grammar made of it takes what it writes."""

import json

import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.dialects.dialect import CallPiece
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart
from aiadmin_core.specs.request import ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate

VOCABULARY = ByteTokenizer().constraint_vocabulary()
USER = Message(role="user", content=(TextPart("Weather?"),))
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where."},
        "days": {"type": "integer", "description": "How many."},
        "warm": {"type": "boolean", "description": "In or out."},
    },
    "required": ["city"],
}
TOOLS = [Tool(name=name, description="Tells it.", parameters=PARAMETERS) for name in ("get_weather", "get_time")]
CALLS = [
    ("get_weather", {"city": 'Sankt "X" { <b>\nam See', "days": 3, "warm": True}),
    ("get_time", {"city": "Bonn"}),
]
WITHOUT_CALLS_THAT_CAN_BE_READ = {
    "GigaChat3-10B-A1.8B",  # a call is a turn of its own, behind the marker that ends a turn
    "HuggingFaceTB-SmolLM3-3B",  # writes none
    "Kimi-K2-Instruct",  # changes lists, which no sandbox lets it
    "LFM2.5-Instruct",  # writes none
    "MiniMax-M3",  # writes lists and objects as nested tags
    "fireworks-ai-llama-3-firefunction-v2",  # needs a variable of its own
    "google-gemma-2-2b-it",  # knows no tools
    "ibm-granite-granite-3.3-2B-Instruct",  # writes none
    "llama-cpp-deepseek-r1",  # cannot be rendered with tools
    "llama-cpp-rwkv-world",  # knows no tools
    "meetkai-functionary-medium-v3.2",
    "microsoft-Phi-3.5-mini-instruct",  # knows no tools
    "muse-glimmer",
}
"""Of the templates at hand. They speak the generic dialect."""


def templates(shared_data):
    for path in sorted((shared_data / "chat_templates").glob("*.jinja")):
        yield path.stem, ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>")


def written(template, calls):
    """What `template` writes for an assistant's `calls`."""
    asked = tuple(
        ToolCall(id=f"callabcd{n}", name=name, arguments=json.dumps(arguments))
        for n, (name, arguments) in enumerate(calls)
    )
    result = Message(role="tool", content=(ToolResultPart(tool_call_id="callabcd0", content=(TextPart("R"),)),))
    return template.render([USER, Message(role="assistant", tool_calls=asked), result], TOOLS)


def part_with_calls(template, dialect):
    """The calls a template wrote, and the text from their first marker on: two, or one where it writes no more."""
    for calls in (CALLS, CALLS[:1]):
        try:
            text = written(template, calls)
        except BadRequest:
            continue
        start = text.rfind(dialect.form.opening or "{", 0, text.rfind("get_weather"))
        for name, _ in reversed(calls[1:]):
            assert name in text
        return calls, text[start:]
    raise AssertionError("no calls")


def put_together(pieces):
    calls = []
    for piece in pieces:
        if isinstance(piece, CallPiece):
            if piece.name is not None:
                calls.append([piece.name, ""])
            calls[-1][1] += piece.arguments
    return [(name, json.loads(arguments)) for name, arguments in calls]


def speech_of(template):
    return find_speech(template, OURS)


def test_every_template_that_writes_calls_has_a_dialect_of_its_own(shared_data, capsys):
    generic = set()
    for name, template in templates(shared_data):
        dialect = speech_of(template).calls
        print(f"{name:60} {dialect.name:10} {getattr(dialect, 'form', None) and dialect.form.opening}")
        if dialect.name == "generic":
            generic.add(name)

    assert generic <= WITHOUT_CALLS_THAT_CAN_BE_READ


def with_forms(shared_data):
    for name, template in templates(shared_data):
        dialect = speech_of(template).calls
        if dialect.name == "template":
            yield name, template, dialect


@pytest.mark.parametrize("n_at_once", [1, 4, 10_000])
def test_calls_that_a_template_writes_are_read_back(shared_data, n_at_once):
    n_read = 0
    for name, template, dialect in with_forms(shared_data):
        calls, text = part_with_calls(template, dialect)
        parser = dialect.parser("", TOOLS)
        pieces = [piece for at in range(0, len(text), n_at_once) for piece in parser.feed(text[at : at + n_at_once])]

        found = put_together([*pieces, *parser.end("")])
        assert found in (calls, calls[:1]), name
        n_read += 1
    assert n_read >= 35


def test_the_grammar_of_a_dialect_takes_what_its_template_writes(shared_data):
    for name, template, dialect in with_forms(shared_data):
        calls, text = part_with_calls(template, dialect)
        grammar = dialect.call_grammar(TOOLS, ToolChoice(mode="required"), {})
        shape = AnswerShape(calls=grammar, required=True)
        state = LLMatcher(VOCABULARY, to_grammar(shape, None, {}), log_level=0)
        assert not state.is_error(), (name, state.get_error())
        accepted = 0
        for n, byte in enumerate(text.encode(), 1):
            if not state.try_consume_tokens([byte]):
                break
            if state.is_accepting():
                accepted = n
        taken = text.encode()[:accepted].decode()
        assert "Bonn" in taken or '"warm": true' in taken.lower() or len(calls) == 1, (name, taken)


def test_only_tools_of_the_request_and_valid_arguments_come_through_a_dialects_grammar(shared_data):
    city = {"enum": ["Bonn", "Trier"], "description": "Where."}
    properties = {**PARAMETERS["properties"], "city": city}
    tools = [Tool(name="get_weather", description="Tells it.", parameters={**PARAMETERS, "properties": properties})]
    for name, _, dialect in with_forms(shared_data):
        grammar = dialect.call_grammar(tools, ToolChoice(mode="required", parallel=False), {})
        state = LLMatcher(VOCABULARY, to_grammar(AnswerShape(calls=grammar, required=True), None, {}), log_level=0)
        text = b""
        while not state.is_stopped() and len(text) < 600:
            mask = state.compute_bitmask()
            if state.is_accepting():
                break
            allowed = [byte for byte in (*b'"}]>x0<', *range(256)) if mask[byte // 8] >> (byte % 8) & 1]
            state.consume_token(allowed[0])
            text += bytes(allowed[:1])
        parser = dialect.parser("", TOOLS)

        ((called, arguments),) = put_together([*parser.feed(text.decode()), *parser.end("")])
        assert called == "get_weather", name
        assert arguments["city"] in city["enum"], (name, arguments)


def test_a_template_nobody_has_seen_falls_back_or_is_read_off():
    unknown = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
        "{% for call in m.tool_calls or [] %}@@call {{ call.function.name }} with "
        "{{ call.function.arguments | tojson }} done@@{% endfor %}{% endfor %}"
    )
    read_off, generic = speech_of(ChatTemplate(unknown)).calls, speech_of(ChatTemplate("{{ messages }}")).calls

    assert (read_off.form.head, read_off.form.mid, read_off.form.tail) == ("@@call ", " with ", " done@@")
    assert generic.name == "generic"
