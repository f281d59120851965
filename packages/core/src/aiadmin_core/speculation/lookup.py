"""What an answer will say next, if it repeats: the tokens that followed its last ones where they stood before.

"Before" is the prompt, a text that the client expects (OpenAI's `prediction`), or the answer itself. Prompt lookup
(Saxena, https://github.com/apoorvumang/prompt-lookup-decoding) with an index in place of a search: a token costs the
same however long the texts are. Pure; engine thread only.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

N = 3
"""Tokens that have to agree."""

_BITS = 21
"""Of a token's number that count: no vocabulary has more. `N` of them fit into 63."""
_MOST_PLACES = 4
"""That are looked at: one in the client's prediction is followed before others, then that before which most agrees."""
_LONGEST = 64
"""Tokens that agreement is measured over."""
_GAP = np.array([-1], np.int32)
"""Between texts that do not follow each other."""


class Beginning:
    """What stands before an answer, and where each run of `N` tokens stands in it. The choices of a request share it;
    nothing is computed before a choice asks."""

    def __init__(self, prompt: Tokens, prediction: Sequence[int] = ()) -> None:
        """`prediction`: what the client expects the answer to be like."""
        self._prompt = prompt
        self._prediction = np.asarray(prediction, np.int32)

    @cached_property
    def text(self) -> Tokens:
        """int32; negative where nothing can be guessed: in images, and between two texts."""
        if not len(self._prediction):
            return self._prompt
        return np.concatenate([self._prompt, _GAP, self._prediction, _GAP])

    @property
    def predicted(self) -> range:
        """The places of the client's own prediction."""
        first = len(self._prompt) + 1
        return range(first, first + len(self._prediction))

    def places(self, key: int, most: int) -> list[int]:
        """The places right behind the last occurrences of a run, the last one first."""
        keys, order = self._index
        first, end = np.searchsorted(keys, key, "left"), np.searchsorted(keys, key, "right")
        found: list[int] = (order[max(first, end - most) : end][::-1] + N).tolist()
        return found

    @cached_property
    def _index(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(the key of each run, sorted; where it starts)."""
        text = self.text.astype(np.int64) & (1 << _BITS) - 1
        keys = np.zeros(max(0, len(text) - N + 1), np.int64)
        for shift in range(N):
            keys = keys << _BITS | text[shift : shift + len(keys)]
        order = np.argsort(keys, kind="stable")
        return keys[order], order


class Lookup:
    """Follows one answer. `append` each of its tokens; `guess` what comes next."""

    def __init__(self, beginning: Beginning) -> None:
        self._beginning = beginning
        self._n = len(beginning.text)
        self._text: Tokens = np.empty(self._n + 256, np.int32)
        self._text[: self._n] = beginning.text
        self._places: dict[int, list[int]] = {}  # right behind runs that end in the answer, by their key
        self._next = beginning.predicted.start if beginning.predicted else 0
        self.guesses = bool(beginning.predicted)
        """Whether there is a guess."""
        self.n_foretold = 0
        """Tokens of the answer that the client's prediction has foretold."""

    def guess(self, n: int) -> list[int]:
        """At most `n` tokens that may come next. What repeats its own end is taken to go on so."""
        if not self.guesses or n <= 0:
            return []
        known = self._text[self._next : min(self._next + n, self._n)]
        guess: list[int] = (np.resize(known, n) if self._next + n > self._n else known).tolist()
        return guess[: next((place for place, token in enumerate(guess) if token < 0), n)]

    def append(self, token: int) -> bool | None:
        """`token` came next. Whether it had been guessed; None where nothing was."""
        hit = bool(self._text[self._next] == token) if self.guesses else None
        if hit and self._next in self._beginning.predicted:
            self.n_foretold += 1
        if self._n == len(self._text):
            self._text = np.concatenate([self._text, np.empty(self._n, np.int32)])
        self._text[self._n] = token
        self._n += 1
        places = [self._next + 1] if hit else []
        predicted = self._beginning.predicted
        places += self._enter(follow=not hit or (bool(predicted) and self._next not in predicted))
        self._next = places[0] if len(places) == 1 else max(places, key=self._merit, default=0)
        self.guesses = bool(self._next and self._text[self._next] >= 0)  # else the text that was followed is over
        return hit

    def _enter(self, *, follow: bool) -> list[int]:
        """Write down where the last run stands; gives the last places where it stood before, to be followed."""
        if self._n < N:
            return []
        key = 0
        for token in self._text[self._n - N : self._n].tolist():
            key = key << _BITS | token & (1 << _BITS) - 1
        own = self._places.setdefault(key, [])
        found = own[: -_MOST_PLACES - 1 : -1] if follow else []
        own.append(self._n)
        return found + self._beginning.places(key, _MOST_PLACES - len(found)) if follow else []

    def _merit(self, place: int) -> tuple[bool, int]:
        """Whether the client expects what follows `place`, and how many tokens before it are those at the end."""
        return place in self._beginning.predicted, self._agreement(place)

    def _agreement(self, place: int) -> int:
        n = min(_LONGEST, place)
        differs = np.flatnonzero(self._text[place - n : place] != self._text[self._n - n : self._n])
        return n - 1 - int(differs[-1]) if len(differs) else n
