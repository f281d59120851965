"""The input of a custom tool, on its way through a function's arguments."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_server.apis.openai.custom import Unwrapper, parameters, wrapped

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def unwrapped(arguments, n_at_once=1):
    unwrapper = Unwrapper()
    return "".join(unwrapper.feed(arguments[at : at + n_at_once]) for at in range(0, max(1, len(arguments)), n_at_once))


@given(TEXTS, st.integers(1, 50), st.booleans())
def test_what_was_wrapped_comes_out_however_it_is_cut(text, n_at_once, ascii_only):
    """Also where the model escapes more than it has to."""
    arguments = json.dumps({"input": text}, ensure_ascii=True) if ascii_only else wrapped(text)
    assert unwrapped(arguments, n_at_once) == text
    assert unwrapped(arguments, 1000) == text


@given(TEXTS)
def test_pieces_are_told_as_they_come(text):
    """Nothing is held back but an escape that is not whole."""
    unwrapper = Unwrapper()
    unwrapper.feed('{"input": "')
    for character in text:
        escaped = json.dumps(character, ensure_ascii=False)[1:-1]
        assert unwrapper.feed(escaped) == character


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (' { "input" : "a" } ', "a"),
        ("SELECT 1", "SELECT 1"),
        ('{"query": "a"}', '{"query": "a"}'),
        ('{"input": 1}', '{"input": 1}'),
        ('{"input": "cut \\u00', "cut "),
        ('{"inp', ""),
        ("", ""),
        (r'{"input": "\ud83d!"}', "\ufffd!"),
        (r'{"input": "\q"}', r"\q"),
        ('{"input": "two\nlines"}', "two\nlines"),
    ],
)
def test_arguments_that_nothing_was_enforced_in_lose_nothing(arguments, text):
    assert unwrapped(arguments) == unwrapped(arguments, 1000) == text


def test_a_pattern_binds_the_whole_input():
    assert parameters("a|b")["properties"]["input"]["pattern"] == "^(?:a|b)$"
    assert "pattern" not in parameters(None)["properties"]["input"]
