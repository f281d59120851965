"""Reads answers that are nothing but calls, without a marker in front: `[name(city="Bonn")]`."""

import re
from collections.abc import Callable, Sequence

from ..dialect import CallPiece, Piece


class BareParser:
    """See `dialect.Parser`. `read` gives the calls in what stands from `before`, at the beginning of the answer, to
    `after`; none where it is something else, or not whole yet. Other answers are text."""

    reasoning = False

    def __init__(self, before: str, after: str, read: Callable[[str], Sequence[CallPiece]]) -> None:
        self._after, self._read = after, read
        self._begins = re.compile(
            rf"\s*(?:{_beginning(before)}|{re.escape(before)}\s*(?:[A-Za-z_][\w.-]*(?:\([\s\S]*)?)?)"
        )
        self._held = ""
        self._open = True
        """Whether the answer may still be calls."""

    @property
    def n_held(self) -> int:
        return len(self._held)

    def feed(self, text: str) -> list[Piece]:
        if not self._open:
            return [text] if text else []
        pieces: list[Piece] = []
        for position, character in enumerate(text):
            self._held += character
            if not self._begins.fullmatch(self._held):
                self._open = False
            elif character == self._after[-1:] and (calls := self._read(self._held)):
                pieces += calls
                self._open, self._held = False, ""
            if not self._open:
                rest = self._held + text[position + 1 :]
                self._held = ""
                return [*pieces, rest] if rest else pieces
        return pieces

    def end(self, token: str) -> list[Piece]:
        text, self._held = self._held, ""
        calls = self._read(text) if text else ()
        return [*calls] if calls else [text] if text else []


def _beginning(text: str) -> str:
    """An expression of the beginnings of `text`."""
    return "|".join(re.escape(text[:n]) for n in range(len(text) + 1))
