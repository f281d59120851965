"""Stop strings in a stream of text. Used by `pipeline`, one instance for each choice."""

import re
from collections.abc import Sequence


class StopStrings:
    """Finds the first of `stops` in text that comes in pieces, and holds back what may be the beginning of one.

    The stop string that is complete first wins, the longest of those complete at the same character: however the text
    is cut into pieces, the result is the same. Costs O(len(stops)) a character.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._searches = [_Search(stop) for stop in sorted(set(stops), key=len, reverse=True) if stop]
        self._first = re.compile("|".join(re.escape(search.stop[0]) for search in self._searches) or r"(?!)")
        self._held = ""
        self.matched: str | None = None
        """The stop string that was found; the text before it has been given out."""

    @property
    def n_held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def feed(self, text: str) -> str:
        """The text that is safe to give out now; nothing more after a match."""
        if self.matched is not None:
            return ""
        if not self._held and not self._first.search(text):  # nearly always
            return text
        for end, character in enumerate(text, start=len(self._held) + 1):
            if complete := [search.stop for search in self._searches if search.step(character)]:
                self.matched = complete[0]
                given, self._held = (self._held + text)[: end - len(self.matched)], ""
                return given
        text = self._held + text
        safe = len(text) - max(search.n_matched for search in self._searches)
        self._held = text[safe:]
        return text[:safe]

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        text, self._held = self._held, ""
        return text


class _Search:
    """Knuth, Morris and Pratt's search for one string, a character at a time."""

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.n_matched = 0
        """Length of the longest end of the text so far that begins `stop`."""
        self._borders = _borders(stop)

    def step(self, character: str) -> bool:
        """Whether `stop` is complete with `character`."""
        n = self.n_matched
        while n and self.stop[n] != character:
            n = self._borders[n - 1]
        self.n_matched = n + 1 if self.stop[n] == character else 0
        return self.n_matched == len(self.stop)


def _borders(text: str) -> list[int]:
    """For each beginning of `text`, the length of its longest proper end that also begins it."""
    borders = [0] * len(text)
    n = 0
    for i in range(1, len(text)):
        while n and text[i] != text[n]:
            n = borders[n - 1]
        n += text[i] == text[n]
        borders[i] = n
    return borders
