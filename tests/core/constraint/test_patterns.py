"""Expressions without look-around: they match what the given ones match."""

import re
from itertools import product

import pytest

from aiadmin_core.constraint.patterns import without_look_around

TEXTS = ["".join(one) for n in range(5) for one in product("ab -", repeat=n)]


@pytest.mark.parametrize(
    "pattern",
    [
        r"\ba\b",
        r"^\ba+\b",
        r"a\b -",
        r"^a\b.*$",
        r"a\Bb",
        r"^\w+\b\s\bb$",
        r"(?:\ba|-b)\b",
        r"\b(?:a|b){2}\b",
        r"^a*\b",
        r"^(?=.*\bb\b).+$",
    ],
)
def test_word_boundaries_are_where_they_were(pattern: str) -> None:
    written = without_look_around(pattern)
    made = [re.compile(re.sub(r"\\x\{(\w+)\}", lambda code: rf"\U{code[1]:0>8}", one)) for one in written]

    assert [text for text in TEXTS if all(one.search(text) for one in made)] == [
        text for text in TEXTS if re.search(pattern, text)
    ]


def test_a_boundary_that_is_repeated_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="repeated"):
        without_look_around(r"^(?:a\b ?)+$")


@pytest.mark.parametrize("pattern", [r"^(?!.*\ba\b).*$", r"^(?!\ba)b"])
def test_a_boundary_that_must_not_be_there_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        without_look_around(pattern)


def test_letters_that_are_none_for_everybody_never_stand_beside_a_boundary() -> None:
    (written,) = without_look_around(r"^.a\b.$")
    made = re.compile(re.sub(r"\\x\{(\w+)\}", lambda code: rf"\U{code[1]:0>8}", written))

    assert made.search("-a-")
    assert not made.search("-aé")
