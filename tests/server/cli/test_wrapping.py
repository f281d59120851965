"""Text on a terminal of some width."""

import random
import re

import pytest

from aiadmin_server.cli._wrapping import Wrapper


class Screen:
    """As much of a terminal as is written to: characters, line feeds, cursor left, erase to the end of the line."""

    def __init__(self) -> None:
        self.lines = [""]

    def write(self, text: str) -> None:
        for back, character in re.findall(r"\x1b\[(\d+)D\x1b\[K|(.)", text, re.DOTALL):
            if back:
                line, erased = self.lines[-1][: -int(back)], self.lines[-1][-int(back) :]
                assert " " not in erased, "only a word is taken back"
                self.lines[-1] = line
            elif character == "\n":
                self.lines.append("")
            else:
                self.lines[-1] += character


def shown(*pieces: str, width: int) -> list[str]:
    screen = Screen()
    wrapper = Wrapper(screen.write, lambda: width)
    for piece in pieces:
        wrapper.write(piece)
    return screen.lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two ", "three"]),
        ("one two\nthree four", ["one two", "three ", "four"]),
        ("a fifteenletters", ["a ", "fifteenle", "tters"]),
        ("nineteen8 x", ["nineteen8", "x"]),
        ("nineteen8\nx", ["nineteen8", "x"]),
        ("eight 8 t", ["eight 8 t"]),
        ("x\tyz", ["x\t", "yz"]),
        ("\u65e5\u672c\u8a9e\u306f\u9577", ["\u65e5\u672c\u8a9e\u306f", "\u9577"]),
        ("ab\u65e5\u672c\u8a9ecde", ["ab\u65e5\u672c\u8a9e", "cde"]),
        ("", [""]),
    ],
)
def test_words_move_to_the_next_line_whole(text, lines):
    assert shown(text, width=10) == lines
    assert shown(*text, width=10) == lines, "however it is cut"


def test_nothing_is_lost_however_the_text_is_cut():
    draw = random.Random(7)
    for _ in range(200):
        words = ["".join(draw.choices("abcde", k=draw.randint(1, 12))) for _ in range(30)]
        text = " ".join(words)
        cuts = sorted(draw.sample(range(len(text)), 10))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]

        lines = shown(*pieces, width=draw.randint(14, 40))

        assert [word for line in lines for word in line.split()] == words


def test_a_terminal_without_width_is_no_trouble():
    assert "".join(shown("one two", width=0)).replace(" ", "") == "onetwo"
