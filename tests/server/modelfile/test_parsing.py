"""Modelfiles as texts, and back."""

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart, plain_text
from aiadmin_server.modelfile.parsing import decoded, parse
from aiadmin_server.modelfile.recipe import Recipe
from aiadmin_server.modelfile.writing import write

WHOLE = '''# A comment
FROM smollm2
from ./projector.gguf

PARAMETER temperature 0.5
Parameter stop <|end|>
PARAMETER stop "User: "
PARAMETER num_ctx 4096
parameter use_mmap false
TEMPLATE """{{ if .System }}{{ .System }}
{{ end }}# not a comment
{{ .Prompt }}"""
SYSTEM You are "kind".
MESSAGE user Hello
MESSAGE assistant """Hi,
you."""
LICENSE "MIT"
LICENSE """
Apache
"""
REQUIRES 0.14.0
'''


def test_every_instruction_is_read():
    recipe = parse(WHOLE)

    assert recipe.bases == ("smollm2", "./projector.gguf")
    assert recipe.parameters == {
        "temperature": 0.5,
        "stop": ["<|end|>", "User: "],
        "num_ctx": 4096,
        "use_mmap": False,
    }
    assert recipe.template == "{{ if .System }}{{ .System }}\n{{ end }}# not a comment\n{{ .Prompt }}"
    assert recipe.system == 'You are "kind".'
    assert [(one.role, plain_text(one.content)) for one in recipe.messages] == [
        ("user", "Hello"),
        ("assistant", "Hi,\nyou."),
    ]
    assert recipe.licenses == ("MIT", "\nApache\n")
    assert recipe.about == {"requires": "0.14.0"}


def test_what_is_written_reads_the_same_again():
    recipe = parse(WHOLE)

    assert parse(write(recipe)) == recipe


@pytest.mark.parametrize(
    "text",
    ["plain", " blanks ", '"quoted"', 'ends with "', "two\nlines", "\nlines\n", "tab\t", "", "a # b", "# a", 'a """ b'],
)
def test_texts_of_any_shape_survive_or_are_left_to_the_base(text):
    recipe = Recipe(bases=("m",), system=text, messages=(Message(role="user", content=(TextPart("x"),)),))

    written = write(recipe)

    if '"""' in text:
        assert "# SYSTEM" in written
        assert parse(written).system is None
    else:
        assert parse(written).system == text


def test_line_ends_and_encodings_do_not_matter():
    text = 'FROM m\r\nSYSTEM """a\r\nb"""\r\n'

    for data in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
        assert parse(decoded(data)).system == "a\nb"


def test_several_stops_may_be_one_list():
    assert parse('FROM m\nPARAMETER stop ["<a>", "<b>"]\nPARAMETER stop [x').parameters["stop"] == ["<a>", "<b>", "[x"]


def test_an_empty_system_takes_the_bases_away():
    assert parse('FROM m\nSYSTEM ""').system == ""
    assert parse("FROM m").system is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no FROM line", "FROM smollm2"),
        ("FORM m", "Line 1: there is no instruction 'FORM'", "FROM"),
        ("FROM", "Line 1: FROM has nothing behind it", ""),
        ("FROM m\nPARAMETER temprature 1", "Line 2: There is no parameter 'temprature'", "temperature"),
        ("FROM m\nPARAMETER temperature hot", "Line 2: The parameter 'temperature' cannot be 'hot'", ""),
        ("FROM m\nPARAMETER temperature 5", "cannot be '5'", ""),
        ("FROM m\nPARAMETER num_ctx 1.5", "it should be a whole number", ""),
        ("FROM m\nPARAMETER num_ctx -7", "it lies between 0", ""),
        ("FROM m\nPARAMETER top_k", "Line 2: PARAMETER needs a name and a value", ""),
        ('FROM m\nPARAMETER stop ""', "must not be an empty text", ""),
        ("FROM m\nMESSAGE robot hi", "MESSAGE has no role 'robot'", "assistant"),
        ('FROM m\nSYSTEM """never\nclosed', "Line 2: a quote", '"""'),
        ("FROM m\nDRAFT x", "DRAFT is not served", ""),
        ("\0\0FROM m", "there is no instruction", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message, hint):
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_is_no_text_is_refused():
    with pytest.raises(BadRequest, match="is no text"):
        decoded(b"GGUF\xff\xfe\x80")
    with pytest.raises(BadRequest, match="larger than"):
        decoded(b"x" * (5 << 20))
