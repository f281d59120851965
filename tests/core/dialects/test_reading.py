"""Calls in what a model writes, whatever it writes and however it is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.dialects.dialect import CallPiece
from aiadmin_core.dialects.tools.form import ID, NUMBER, CallForm, Tags
from aiadmin_core.dialects.tools.generic import HERMES
from aiadmin_core.dialects.tools.reading import FormParser
from aiadmin_core.specs.content import Tool

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}
TOOLS = [Tool(name="f", parameters=PARAMETERS), Tool(name="g", parameters=PARAMETERS)]
MISTRAL_LIST = CallForm(
    begin="[TOOL_CALLS][",
    head='{"name": "',
    mid='", "arguments": ',
    tail=f', "id": "{ID}"}}',
    separator=", ",
    end="]",
)
MISTRAL = CallForm(begin="", head="[TOOL_CALLS]", mid="[ARGS]", tail="")
KIMI = CallForm(
    begin="<|section|>", head="<|call|>functions.", mid=f":{NUMBER}<|arguments|>", tail="<|end_call|>", end="<|end|>"
)
LLAMA = CallForm(begin="", head='{"name": "', mid='", "parameters": ', tail="}")
QWEN_CODER = CallForm(
    begin="",
    head="<tool_call>\n<function=",
    mid=">",
    tail="\n</function>\n</tool_call>",
    separator="\n",
    tags=Tags(
        before="\n<parameter=", mids={"string": ">\n", "number": ">\n", "boolean": ">\n"}, after="\n</parameter>"
    ),
)
GLM = CallForm(
    begin="",
    head="<tool_call>",
    mid="",
    tail="\n</tool_call>",
    separator="\n",
    tags=Tags(
        before="\n<arg_key>",
        mids={"string": "</arg_key>\n<arg_value>", "number": "</arg_key>\n<arg_value>"},
        after="</arg_value>",
    ),
)
DSML = CallForm(
    begin="<calls>",
    head='\n<invoke name="',
    mid='">',
    tail="\n</invoke>",
    end="\n</calls>",
    tags=Tags(
        before='\n<parameter name="',
        mids={"string": '" string="true">', "number": '" string="false">', "boolean": '" string="false">'},
        after="</parameter>",
    ),
)
FORMS = [HERMES, MISTRAL_LIST, MISTRAL, KIMI, LLAMA, QWEN_CODER, GLM, DSML]
WRITTEN = [
    (HERMES, 'Hm. <tool_call>\n{"name": "f", "arguments": {"city": "B}"}}\n</tool_call> ok', "Hm. f({...B}...}) ok"),
    (HERMES, '<tool_call>{"name":"f","arguments":{}}</tool_call><tool_call>{"name":"g","arguments":{}}</tool_call>', 2),
    (HERMES, '<tool_call>\n{"arguments": {"n": 1}, "name": "f"}\n</tool_call>', 1),
    (HERMES, '<tool_call>\n{"name": "f", "arguments": "{\\"n\\": 1}"}\n</tool_call>', 1),
    (MISTRAL_LIST, '[TOOL_CALLS] [{"name": "f", "arguments": {"n": 1}}, {"name": "g", "arguments": {}}]', 2),
    (MISTRAL_LIST, '[TOOL_CALLS][{"name": "f", "arguments": {"n": 1}, "id": "abcdefghi"}]', 1),
    (MISTRAL, '[TOOL_CALLS]f[ARGS]{"city": "B"}[TOOL_CALLS]g[ARGS] {}', 2),
    (KIMI, '<|section|><|call|>functions.f:0<|arguments|>{"n": 1}<|end_call|><|call|>functions.g:1<|arguments|>{}', 2),
    (LLAMA, '{"name": "f", "parameters": {"city": "B"}}', 1),
    (LLAMA, '\n{"name": "f", "arguments": {"city": "B"}}', 1),
    (QWEN_CODER, "<tool_call>\n<function=f>\n<parameter=city>\nB\n</parameter>\n</function>\n</tool_call>", 1),
    (QWEN_CODER, "<tool_call>\n<function=f>\n</function>\n</tool_call>\n<tool_call>\n<function=g>", 2),
    (GLM, "<tool_call>f\n<arg_key>n</arg_key>\n<arg_value>1</arg_value>\n</tool_call>", 1),
    (GLM, "<tool_call>f\n</tool_call><tool_call>g</tool_call>", 2),
    (DSML, '<calls>\n<invoke name="f">\n<parameter name="n" string="false">1</parameter>\n</invoke>\n</calls>', 1),
]


def put_together(pieces):
    """Texts and calls, neighbours joined."""
    parts = []
    for piece in pieces:
        if isinstance(piece, CallPiece) and piece.name is not None:
            parts.append([piece.name, piece.arguments])
        elif isinstance(piece, CallPiece):
            parts[-1][1] += piece.arguments
        elif parts and parts[-1][0] is None:
            parts[-1][1] += piece
        else:
            parts.append([None, piece])
    return parts


def read(form, text, cuts=None):
    parser = FormParser(form, TOOLS)
    pieces, start = [], 0
    for end in [*(cuts if cuts is not None else []), len(text)]:
        pieces += parser.feed(text[start:end])
        start = end
    return put_together([*pieces, *parser.end("")])


@pytest.mark.parametrize(("form", "text", "n_calls"), WRITTEN)
def test_calls_are_read_however_they_are_cut(form, text, n_calls):
    whole = read(form, text)
    names = [name for name, _ in whole if name is not None]

    assert names == (["f", "g"][:n_calls] if isinstance(n_calls, int) else ["f"])
    for cut in range(len(text)):
        assert read(form, text, [cut]) == whole
    assert read(form, text, range(len(text))) == whole


def test_text_around_calls_is_kept():
    text = 'Hm. <tool_call>\n{"name": "f", "arguments": {"city": "B}"}}\n</tool_call>\n\nAnd then?'

    assert read(HERMES, text) == [[None, "Hm. "], ["f", '{"city": "B}"}'], [None, "\n\nAnd then?"]]


@pytest.mark.parametrize(
    ("written", "given"),
    [("Bonn am Rhein", '"Bonn am Rhein"'), ("12", '"12"'), ("true", '"true"'), ('{"a": 1}', '"{\\"a\\": 1}"')],
)
def test_a_tagged_text_is_a_string_where_the_tool_says_so(written, given):
    text = f"<tool_call>\n<function=f>\n<parameter=city>\n{written}\n</parameter>\n</function>\n</tool_call>"

    assert read(QWEN_CODER, text) == [["f", f'{{"city": {given}}}']]


@pytest.mark.parametrize(
    ("written", "given"), [("12", "12"), ("True", "true"), ("['a', 1]", '["a", 1]'), ("x y", '"x y"')]
)
def test_other_tagged_values_are_json_or_what_they_are(written, given):
    text = f"<tool_call>\n<function=f>\n<parameter=other>\n{written}\n</parameter>\n</function>\n</tool_call>"

    assert read(QWEN_CODER, text) == [["f", f'{{"other": {given}}}']]


def test_arguments_come_as_they_are_written():
    parser = FormParser(HERMES, TOOLS)
    text = '<tool_call>\n{"name": "f", "arguments": {"city": "Bonn am Rhein"}}'
    given = [piece for character in text for piece in parser.feed(character)]

    assert given[0].name == "f"
    assert len(given) > len('{"city": "Bonn am Rhein"}')


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (HERMES, "<tool_call>\nI would call f\n</tool_call> and so on"),
        (HERMES, "<tool_call><tool_call><tool_call>" * 50),
        (HERMES, '<tool_call>{"name": 3}</tool_call>'),
        (HERMES, "</tool_call> <tool_cal"),
        (LLAMA, '{"name": "Ada", "born": 1815}'),
        (LLAMA, '[{"a": 1}]'),
        (LLAMA, "Hello {}"),
        (MISTRAL, "[TOOL_CALLS]" + "x" * 1000),
        (GLM, "<tool_call>"),
        (DSML, "<calls> nothing </calls>"),
    ],
)
def test_what_cannot_be_read_is_text(form, text):
    assert read(form, text) == [[None, text]]


def test_a_call_that_is_cut_keeps_what_there_is():
    assert read(HERMES, '<tool_call>\n{"name": "f", "arguments": {"city": "Bo') == [["f", '{"city": "Bo']]
    assert read(QWEN_CODER, "<tool_call>\n<function=f>\n<parameter=city>\nBo") == [["f", ""]]


FRAGMENTS = st.sampled_from(
    [
        *(
            "<tool_call>",
            "</tool_call>",
            '{"name": "f", "arguments": ',
            "{}",
            "}",
            "\n",
            " ",
            "x",
            "é🙂",
            '"',
            "[",
            "]",
        ),
        *("[TOOL_CALLS]", "[ARGS]", "<function=f>", "<parameter=city>", "</parameter>", "</function>", "<arg_key>"),
        *("</arg_key>", "<arg_value>", "</arg_value>", "<calls>", '<invoke name="f">', "</invoke>", "</calls>", "f"),
        *(
            "<|section|>",
            "<|call|>functions.f:0<|arguments|>",
            "<|end_call|>",
            "<|end|>",
            '{"name": "f", "parameters": ',
        ),
        *(", ", "<", "\\", "1", "[", "]", '{"name": "f", "parameters": '),
    ]
)


@given(st.sampled_from(FORMS), st.lists(FRAGMENTS, max_size=12).map("".join), st.lists(st.integers(0, 200)))
def test_anything_is_read_without_an_error_and_alike_however_it_is_cut(form, text, cuts):
    cuts = sorted(cut for cut in cuts if cut < len(text))

    assert read(form, text, cuts) == read(form, text) == read(form, text, range(len(text)))


@given(st.sampled_from(FORMS), st.text(max_size=80))
def test_a_text_without_calls_comes_back_as_it_was(form, text):
    assert read(form, text) == ([[None, text]] if text else [])


@pytest.mark.parametrize(
    ("schema", "written", "value"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "5", "5"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", None),
        ({"type": ["string", "integer"]}, "5", 5),
        ({"type": ["string", "integer"]}, "5.5", "5.5"),
        ({"type": ["string", "number"]}, "5", 5),
        ({"type": ["string", "null"]}, '"quoted"', '"quoted"'),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, '"2026-11-26"', "2026-11-26"),
    ],
)
def test_a_tagged_text_among_other_types_is_what_was_written(schema, written, value):
    tool = Tool(name="f", parameters={"type": "object", "properties": {"city": schema}})
    parser = FormParser(QWEN_CODER, [tool])
    text = f"<tool_call>\n<function=f>\n<parameter=city>\n{written}\n</parameter>\n</function>\n</tool_call>"
    pieces = [*parser.feed(text), *parser.end("")]

    assert json.loads("".join(piece.arguments for piece in pieces)) == {"city": value}
