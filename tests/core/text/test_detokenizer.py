"""Token bytes become whole characters."""

import codecs

from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.text.detokenizer import Detokenizer


def fed_in_pieces(data: bytes, sizes: list[int]) -> list[str]:
    detokenizer = Detokenizer()
    given_out = []
    while data:
        size = sizes.pop() if sizes else 1
        given_out.append(detokenizer.feed(data[:size]))
        data = data[size:]
    return given_out


@given(st.text(), st.lists(st.integers(1, 5)))
def test_text_cut_anywhere_comes_back_whole(text, sizes):
    assert "".join(fed_in_pieces(text.encode(), sizes)) == text


@given(st.binary(), st.lists(st.integers(1, 5)))
def test_any_bytes_cut_anywhere_give_what_they_give_at_once(data, sizes):
    assert "".join(fed_in_pieces(data, sizes)) == codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def test_half_a_character_is_held_until_it_is_whole():
    detokenizer = Detokenizer()
    first, *middle, last = [bytes([byte]) for byte in "🙂".encode()]

    assert [detokenizer.feed(byte) for byte in (first, *middle)] == ["", "", ""]
    assert detokenizer.feed(last) == "🙂"


def test_a_byte_that_cannot_become_a_character_is_replaced_at_once():
    detokenizer = Detokenizer()

    assert detokenizer.feed(b"\xff") == "\ufffd"
    assert detokenizer.feed(b"\xe2\x82") == ""
    assert detokenizer.feed(b"A") == "\ufffdA"


def test_a_character_that_never_ends_is_no_text():
    detokenizer = Detokenizer()

    assert detokenizer.feed("é".encode()[:1]) == ""
    assert detokenizer.n_held == 1
