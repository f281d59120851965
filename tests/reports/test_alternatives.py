"""Alternatives that are no text of their own keep their place among the log-probabilities of a completion."""

from aiadmin_core.specs.events import Alternative, TokenLogprob
from aiadmin_server.apis.openai.completions.from_core import text_logprobs


def test_pieces_of_characters_are_spelled_as_their_bytes():
    """OpenAI's spelling. As text, all of them would be one and the same U+FFFD."""
    pieces = [b"\xf0\x9f", b"\x99\x82", b"\xf0", b"\xe2\x80", b"a"]
    top = tuple(Alternative(token, piece, -float(token)) for token, piece in enumerate(pieces))

    found = text_logprobs([TokenLogprob(0, b"\xf0\x9f", 0.0, top), TokenLogprob(1, b"\x99\x82", 0.0, top)], 3)

    assert found.tokens == ["bytes:\\xf0\\x9f", "bytes:\\x99\\x82"]
    names = ["bytes:\\xf0\\x9f", "bytes:\\x99\\x82", "bytes:\\xf0", "bytes:\\xe2\\x80", "a"]
    assert found.top_logprobs == [dict(zip(names, [0.0, -1.0, -2.0, -3.0, -4.0], strict=True))] * 2


def test_tokens_that_look_the_same_are_told_apart():
    """A vocabulary may have a letter twice, as itself and as a byte; and several tokens of no text at all."""
    tokens = [b"a", b"a", b"a", b"", b"", b""]
    top = tuple(Alternative(token, piece, -float(token)) for token, piece in enumerate(tokens))

    (found,) = text_logprobs([TokenLogprob(0, b"a", 0.0, top)], 0).top_logprobs

    assert list(found) == ["a", "bytes:\\x61", "token_id:2", "", "bytes:", "token_id:5"]


def test_offsets_count_characters_of_the_text_not_of_its_pieces():
    pieces = [b"\xf0\x9f", b"\x99", b"\x82", b"ab", "\u00e9".encode(), b"c"]

    found = text_logprobs([TokenLogprob(1, piece, 0.0) for piece in pieces], 10)

    assert found.text_offset == [10, 10, 10, 11, 13, 14]
