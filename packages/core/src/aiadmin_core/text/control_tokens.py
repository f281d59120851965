"""Keeps what a user, tool or document wrote from becoming a control token, while the template's own markers do.

Rendering mixes both into one string. So a conversation that could spell a control token is rendered a second time
with *taint*: a private-use character after every character that came from the request, so that whatever the template
does to a text (cut, joined, quoted), each of its characters still says whose it is. A control token of the template
is then one without a tainted character; everything else is text. Used by `prompt`; pure.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..backend import Tokenizer

_TAINTS = range(0x10FFFD, 0x100000, -1)  # private use, plane 16


@dataclass(frozen=True)
class Run:
    """A stretch of a rendered prompt."""

    text: str
    special: bool
    """Whether control tokens are recognised in it."""


class ControlTokens:
    """The control tokens of one vocabulary. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts = frozenset(text for text in tokenizer.control_tokens if text)
        self._ids = frozenset(tokenizer.control_tokens.values())
        self._lengths = sorted({len(text) for text in self._texts}, reverse=True)
        self._start = _any_of(text[:2] for text in self._texts)
        self._edge = _any_of(edge for text in self._texts for edge in (text[0], text[-1]))
        self._joined = "\n".join(self._texts)

    def spans(self, text: str, taint: str = "") -> Iterator[tuple[int, int]]:
        """Where control tokens stand in `text`: start and end, leftmost and longest first, not overlapping. With
        `taint`, only those without a tainted character."""
        position = 0
        while match := self._start.search(text, position):
            start = match.start()
            end = next((end for n in self._lengths if text[start : (end := start + n)] in self._texts), None)
            position = start + 1
            if end is not None and not (taint and text.startswith(taint, end)):
                yield start, end
                position = end

    def found(self, text: str) -> list[str]:
        """The control tokens spelled in `text`, first to last."""
        return [text[start:end] for start, end in self.spans(text)]

    def risky(self, text: str) -> bool:
        """Whether `text` could be part of a control token's text in a prompt: it holds the first or last character
        of one, or is a piece from the inside of one."""
        if self._edge.search(text):
            return True
        return bool(text) and bool(self._lengths) and len(text) <= self._lengths[0] and text in self._joined

    def tainted(self, text: str, taint: str) -> str:
        """`text`, if it is risky, with `taint` after every character; white space at its ends stays bare, so that
        templates can still trim it."""
        if not self.risky(text):
            return text
        core = text.strip() or text
        start = text.index(core)
        return text[:start] + taint.join(core) + taint + text[start + len(core) :]

    def runs(self, rendered: str, taint: str) -> list[Run]:
        """Split a tainted prompt at the template's control tokens; text between two of them that would spell others
        is not special. The taint is gone from the result."""
        runs: list[Run] = []
        position = 0
        for start, end in self.spans(rendered, taint):
            runs.append(self._text(rendered[position:start].replace(taint, "")))
            runs.append(Run(rendered[start:end], special=True))
            position = end
        runs.append(self._text(rendered[position:].replace(taint, "")))
        return list(_merged(runs))

    def encode(self, run: Run) -> list[int]:
        """Token ids of `run`. Holds on tokenizers too that find a control token where they were told not to."""
        tokens = self._tokenizer.encode(run.text, special=run.special)
        if run.special or self._ids.isdisjoint(tokens):
            return tokens
        cuts = [0, *(start + 1 for start, _ in self.spans(run.text)), len(run.text)]
        pieces = [run.text[start:end] for start, end in itertools.pairwise(cuts)]
        return [token for piece in pieces for token in self._tokenizer.encode(piece, special=False)]

    def _text(self, text: str) -> Run:
        return Run(text, special=next(self.spans(text), None) is None)


def unused_taint(texts: Iterable[str]) -> str:
    """A private-use character that occurs in none of `texts`."""
    used = {character for text in texts for character in text if character >= "\U00100000"}
    return next(chr(code) for code in _TAINTS if chr(code) not in used)


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    alternatives = sorted(set(texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, alternatives)) or r"(?!)")


def _merged(runs: Iterable[Run]) -> Iterator[Run]:
    """Neighbours of one kind joined: tokenizers look at what stands beside a text."""
    for special, group in itertools.groupby((run for run in runs if run.text), key=lambda run: run.special):
        yield Run("".join(run.text for run in group), special)
