"""Stop strings in a stream of text. Used by `pipeline`, one instance for each choice.

A control token has no text, but a stop string may spell one. In the stream it is then one character that stands in for
it (`StandIns`), which matches what it spells and is taken out of what is given out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence


class StandIns:
    """Characters for those control tokens that `stops` spell; `control_texts` are those of the vocabulary."""

    def __init__(self, stops: Iterable[str], control_texts: Mapping[int, bytes]) -> None:
        joined = "\n".join(stops)
        spelled = [(token, text) for token, raw in control_texts.items() if (text := raw.decode()) in joined and text]
        spelled.sort(key=lambda item: len(item[1]), reverse=True)  # of two that begin alike the longer one is meant
        named = list(zip(_NONCHARACTERS, spelled, strict=False))
        self._characters = {token: character for character, (token, _) in named}
        self._texts = {text: character for character, (_, text) in named}
        self._erased = str.maketrans("", "", "".join(self._characters.values()))

    def character(self, token: int) -> str:
        """What stands for `token`, "" for most."""
        return self._characters.get(token, "")

    def written(self, stop: str) -> str:
        """`stop` as the model writes it with control tokens."""
        for text, character in self._texts.items():
            stop = stop.replace(text, character)
        return stop

    def erased(self, text: str) -> str:
        """`text` without them."""
        return text.translate(self._erased) if self._characters else text


_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Reserved by Unicode for a program's own use: no text that is interchanged holds them."""


class StopStrings:
    """Finds the first of `stops` in text that comes in pieces, and holds back what may be the beginning of one.

    The stop string that is complete first wins, the longest of those complete at the same character: however the text
    is cut into pieces, the result is the same. Costs O(len(stops)) a character.
    """

    def __init__(self, stops: Sequence[str], stand_ins: StandIns | None = None) -> None:
        written = {stop: stop for stop in stops if stop}
        if stand_ins is not None:
            written |= {stand_ins.written(stop): stop for stop in written}
        self._stops = written
        self._searches = [_Search(text) for text in sorted(written, key=len, reverse=True)]
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
                self.matched = self._stops[complete[0]]
                given, self._held = (self._held + text)[: end - len(complete[0])], ""
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
