"""Reads sections of calls that can be understood only when they are whole: between two markers, in a notation that has
to be turned into JSON.
"""

from collections.abc import Callable, Sequence

from ..dialect import CallPiece, Piece
from ..markers import overlap


class SectionParser:
    """See `dialect.Parser`. `read` gives the calls in what stands between `opening` and `closing`, none where it is
    something else: then it is text."""

    reasoning = False

    def __init__(self, opening: str, closing: str, read: Callable[[str], Sequence[CallPiece]]) -> None:
        self._opening, self._closing, self._read = opening, closing, read
        self._held = ""

    @property
    def n_held(self) -> int:
        return len(self._held)

    def feed(self, text: str) -> list[Piece]:
        self._held += text
        pieces: list[Piece] = []
        while self._held:
            before, found, inside = self._held.partition(self._opening)
            safe = len(before) if found else len(before) - overlap(before, self._opening)
            if safe:
                pieces.append(before[:safe])
                self._held = self._held[safe:]
            section, closed, rest = inside.partition(self._closing)
            if not closed:
                break
            pieces.extend(self._read(section) or [self._opening + section + self._closing])
            self._held = rest
        return pieces

    def end(self, token: str) -> list[Piece]:
        text, self._held = self._held, ""
        calls = self._read(text.removeprefix(self._opening)) if text.startswith(self._opening) else ()
        return [*calls] if calls else [text] if text else []
