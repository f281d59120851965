"""What DRY counts as a repetition."""

import numpy as np
import pytest

from aiadmin_core.sampling.dry import Breakers, continuations, find_breakers, penalties
from aiadmin_core.testing.fake import ByteTokenizer

NONE = Breakers.none(256)


def window(text):
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def penalised(text, found=NONE, **settings):
    tokens, amounts = penalties(
        window(text), found, **{"multiplier": 1.0, "base": 2.0, "allowed_length": 2, **settings}
    )
    return {chr(token): float(amount) for token, amount in zip(tokens, amounts, strict=True)}


def test_what_would_go_on_repeating_is_penalised_by_the_length_of_the_repetition():
    # llama.cpp's own example: after "abccbcyabc", c would make four of a kind, y three and b two.
    assert penalised("abccbcyabc") == {"c": 2.0, "y": 1.0}
    assert penalised("abccbcyabc", allowed_length=1) == {"c": 4.0, "y": 2.0, "b": 1.0}


def test_nothing_is_repeated_where_nothing_was_said_twice():
    assert penalised("abcdefgh") == {}
    assert penalised("") == {}
    assert penalised("ab") == {}


def test_the_longest_repetition_counts():
    tokens, lengths = continuations(window("xabZ abZ yab"), longest=9)

    assert dict(zip(map(chr, tokens), lengths.tolist(), strict=True))["Z"] == 2


def test_a_breaker_ends_what_is_looked_back_on():
    found = find_breakers(["\n"], [bytes([token]) for token in range(256)], ByteTokenizer().encode)

    assert penalised("abcd\nabcd\nab", found) == {"c": 1.0}
    assert penalised("abcd abcd\nabcd abcd\na", found) == {}
    assert "\n" not in penalised("ab\nab\nab", found)


def test_a_breaker_of_several_tokens_counts_only_as_a_whole():
    found = find_breakers(["--"], [bytes([token]) for token in range(256)], lambda text: list(text.encode()))

    assert penalised("a-bc a-bc a-b", found)["c"] == 2.0 ** (len("a-bc a-b") - 2)
    assert penalised("bc--bc--b", found) == {}


def test_tokens_that_contain_a_breaker_break_by_themselves():
    pieces = [b"a", b"b", b".\n", b"\n\n", b"x-", b"->", b"-"]
    found = find_breakers(["\n", "->"], pieces, lambda text: {">": [9]}[text])

    assert np.flatnonzero(found.whole).tolist() == [2, 3, 5]
    assert found.tails == {4: ((9,),), 6: ((9,),)}


def test_a_repetition_without_end_does_not_overflow():
    tokens, amounts = penalties(np.zeros(8000, np.int32), NONE, multiplier=1.0, base=1.75, allowed_length=2)

    assert tokens.tolist() == [0]
    assert np.isfinite(amounts).all()


@pytest.mark.parametrize("settings", [{"base": 0.5}, {"allowed_length": 99}])
def test_settings_that_switch_it_off(settings):
    assert penalised("abcabcabc", **settings) == {}
