"""Grammars of texts inside of JSON strings: what they take is what the grammar takes, escaped."""

import json

import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.quoting import quoted, read_lark
from aiadmin_core.testing.fake import ByteTokenizer

VOCABULARY = ByteTokenizer().constraint_vocabulary()
SQL = """
start: "SELECT" columns "FROM" NAME ("WHERE" NAME "=" value)?
columns: NAME ("," NAME)* | "*"
value: NUMBER | ESCAPED_STRING | PATH
PATH: "\\\\" /[a-z]+/
%import common.CNAME -> NAME
%import common.NUMBER
%import common.ESCAPED_STRING
%import common.WS
%ignore WS
"""
PATCH = """
start: begin hunk+ "*** End"
begin: "*** Begin" LF
hunk: ("+" | "-" | " ") /(.*)/ LF
%import common.LF
"""


def takes(grammar, text):
    state = LLMatcher(VOCABULARY, json.dumps({"grammars": [{"lark_grammar": grammar}]}), log_level=0)
    assert not state.is_error(), state.get_error()
    return state.try_consume_tokens([*text.encode()]) == len(text.encode()) and state.is_accepting()


def escaped(text):
    return json.dumps(text, ensure_ascii=False)[1:-1]


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        (SQL, 'SELECT a,\n\tb FROM c WHERE d = "x \\" y"'),
        (SQL, "SELECT * FROM t WHERE a = \\dir"),
        (SQL, "SELECT  FROM"),
        (SQL, 'SELECT * FROM "t"'),
        (PATCH, '*** Begin\n+def f():\n-    return "a\\b"\n \t\n*** End'),
        (PATCH, "*** Begin\n*** End"),
    ],
)
def test_a_text_is_taken_where_its_grammar_takes_it(grammar, text):
    assert takes(quoted(grammar), escaped(text)) == takes(grammar, text)


TERMINALS = [
    *(r"/./", r"/./s", r"/.+/", r"/\s+/", r"/[^a]/", r"/(?s:.)x/", r"/\x22\x0a/"),
    *(r"/a\/b/", r"/[^\d\W]/", r"/\S/", r"/A\n/i", '"A\\nb"i', '"!".."/"', '"\\""?', "/[]a\\\\-]+/"),
    *(
        '(/[a-z]+/ | /"/)~1..2',
        "/[a-z]/{2} [/b/]",
        "/a/ | /b/ & /[bc]/",
        "/(?s:.*)/ & ~/(?s:.*)b(?s:.*)/",
        r"/^a$/",
        r"/\t{2,3}/",
        r"/(?P<name>\\)/",
        "/\x7f/",
    ),
]
TEXTS = [
    '"',
    "\\",
    "\n",
    "a",
    "a\n",
    "A\nB",
    "x",
    '"x',
    "\nx",
    "é🙂",
    "\x01",
    "a/b",
    "\t\t",
    "b",
    " \t",
    "\x7f",
    "",
    "'",
]


@pytest.mark.parametrize("terminal", TERMINALS)
def test_every_kind_of_terminal_is_escaped(terminal):
    grammar = f"start: A\nA: {terminal}\n"

    assert [takes(quoted(grammar), escaped(text)) for text in TEXTS] == [takes(grammar, text) for text in TEXTS]


def test_comments_and_options_stay():
    grammar = '%llguidance {"no_forcing": true}\nstart: "a" // "quoted"\n   | "b" # /x/\n'

    assert takes(quoted(grammar), "b")


@pytest.mark.parametrize(
    "grammar",
    [
        "start: %json {}",
        "start: <[5]>",
        "start: <think>",
        "start: @other",
        "start: /[[:alpha:]]/",
        r"start: /\p{L}/",
        "start: x\nx[lazy]: /a/",
        'start: "a"\n%ignore /#[^\\n]*/',
        'start: "a"\n%import other.A',
        "start: A\n%import common.NOBODY -> A",
        "start: /a b/x",
        "start: /(?x)a b/",
        "start: /[a/",
        'start: "ab".."c"',
    ],
)
def test_what_cannot_stand_in_a_text_is_refused(grammar):
    with pytest.raises(ValueError, match=r"[a-z]"):
        quoted(grammar)


@pytest.mark.parametrize("grammar", ["", "start: nobody", "start: /(/", "begin: /a/", "\x00"])
def test_what_is_no_grammar_is_told(grammar):
    with pytest.raises(ValueError, match=r"[a-z]"):
        read_lark(grammar)
