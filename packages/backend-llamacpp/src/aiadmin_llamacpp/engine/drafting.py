"""A draft model: a smaller one of the same vocabulary, whose most likely tokens are guesses for another's. Asked by
`speculation`, on the engine thread.

It has a context of its own, with a place for each choice that is guessed for, and reads there what the choice has come
to. What it guesses changes how fast an answer comes and nothing else, so nothing of it has to be the same again.
(Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023; here the tokens are chosen from
the other model's logits alone, as they always are.)
"""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from aiadmin_core.cache.prefix_tree import common_prefix

from ..native.batch import Batch
from ..native.context import DecodeFailed, OutOfCells
from .tokens import Tokens


class Key(NamedTuple):
    """A choice."""

    salt: str
    """Only choices of one salt may tell from each other's time what they have in common."""
    request: int
    choice: int


CAUGHT_UP = 8
"""Tokens of a choice that a call may have read for its time to tell what a guess costs: not those of a prompt."""

WORTH_SHARING = 16
"""Tokens that another choice has to begin with for its cells to be used."""


class Memory(Protocol):
    """What `native.context.Context` does for it."""

    n_batch: int
    n_vocab: int

    def decode(self, batch: Batch) -> None: ...
    def logits(self, n_rows: int) -> npt.NDArray[np.float32]: ...
    def set_threads(self, n_threads: int) -> None: ...
    def share(self, source: int, target: int, end: int) -> None: ...
    def trim(self, sequence: int, start: int) -> bool: ...
    def clear(self) -> None: ...


@dataclass(slots=True, eq=False)
class Place:
    """A sequence id of the draft model's context, and what it holds."""

    id: int
    tokens: Tokens = field(default_factory=lambda: np.empty(0, np.int32))
    used_at: int = 0


class DraftModel:
    """Guesses for several choices in one go: each step of its own is one batch of them all."""

    def __init__(
        self, context: Memory, *, n_places: int, n_vocab: int, n_threads: Callable[[], int] = lambda: 1
    ) -> None:
        """`n_vocab`: of the other model; what only one of them knows is not guessed, and ends guessing. `n_threads`
        tells how many may compute."""
        self._context = context
        self._n_vocab = min(n_vocab, context.n_vocab)
        self._n_threads = n_threads
        self._batch = Batch(context.n_batch)
        self._free = list(range(n_places - 1, -1, -1))
        self._places: dict[Key, Place] = {}
        self._clock = 0
        self.token_s = 0.0
        """What a guess takes, measured; 0 where nothing was."""

    def guess(self, wanted: Mapping[Key, tuple[Tokens, int]]) -> dict[Key, list[int]]:
        """For each choice, all its tokens and how many are to be guessed. Gives as many at most; none of a choice
        whose prompt has still to be read, which several calls may take."""
        self._clock += 1
        self._context.set_threads(self._n_threads())
        known = {key: one for key, one in wanted.items() if one[1] > 0 and self._knows(key, one[0])}
        started = perf_counter()
        try:
            places = {key: self._place(key, tokens, known) for key, (tokens, _) in known.items()}
            n_read, guesses = self._read(places, known)
            self._go_on(places, known, guesses)
        except (OutOfCells, DecodeFailed):
            self._start_over()
            return {}
        n_guessed = sum(map(len, guesses.values()))
        if n_guessed and n_read <= CAUGHT_UP * len(guesses):
            seconds = (perf_counter() - started) / n_guessed
            self.token_s = 0.8 * self.token_s + 0.2 * seconds if self.token_s else seconds
        return guesses

    def _knows(self, key: Key, tokens: Tokens) -> bool:
        place = self._places.get(key)
        new = tokens[len(place.tokens) if place and len(place.tokens) < len(tokens) else 0 :]
        return bool(len(tokens) and ((new >= 0) & (new < self._n_vocab)).all())

    def _place(self, key: Key, tokens: Tokens, wanted: Mapping[Key, object]) -> Place:
        """Its place, which holds nothing but a beginning of `tokens`, the last one left out."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._new(key.salt, tokens, wanted)
        place.used_at = self._clock
        n = min(common_prefix(place.tokens, tokens), len(tokens) - 1)
        if n < len(place.tokens):
            self._context.trim(place.id, n)
            place.tokens = place.tokens[:n]
        return place

    def _new(self, salt: str, tokens: Tokens, wanted: Mapping[Key, object]) -> Place:
        """One that takes over what another of its salt holds of its beginning."""
        others = (place for key, place in self._places.items() if key.salt == salt)
        alike = max(others, key=lambda other: common_prefix(other.tokens, tokens), default=None)
        if not self._free:
            oldest = min((key for key in self._places if key not in wanted), key=lambda key: self._places[key].used_at)
            gone = self._places.pop(oldest)
            if gone is alike:
                return gone
            self._context.trim(gone.id, 0)
            self._free.append(gone.id)
        place = Place(self._free.pop())
        n = common_prefix(alike.tokens, tokens) if alike is not None else 0
        if alike is not None and n >= WORTH_SHARING:
            self._context.share(alike.id, place.id, n)
            place.tokens = alike.tokens[:n]
        return place

    def _read(
        self, places: Mapping[Key, Place], wanted: Mapping[Key, tuple[Tokens, int]]
    ) -> tuple[int, dict[Key, list[int]]]:
        """Read what choices have come to, those with the least first, as much as one batch holds. Gives how many tokens
        that were, and the first guess of those that are read."""
        missing = {key: wanted[key][0][len(place.tokens) :] for key, place in places.items()}
        self._batch.clear()
        read: list[Key] = []
        for key in sorted(missing, key=lambda key: len(missing[key])):
            n = min(len(missing[key]), self._context.n_batch - self._batch.n_tokens)
            if n == 0:
                break
            place, whole = places[key], n == len(missing[key])
            self._batch.add(place.id, missing[key][:n], len(place.tokens), rows=[n - 1] if whole else [])
            place.tokens = np.concatenate([place.tokens, missing[key][:n]])
            if whole:
                read.append(key)
        if not self._batch.n_tokens:
            return 0, {}
        self._context.decode(self._batch)
        return self._batch.n_tokens, {key: [token] for key, token in zip(read, self._most_likely(read), strict=True)}

    def _go_on(
        self, places: Mapping[Key, Place], wanted: Mapping[Key, tuple[Tokens, int]], guesses: dict[Key, list[int]]
    ) -> None:
        """Lengthen the guesses, a token of each at a time."""
        while more := [key for key, own in guesses.items() if len(own) < wanted[key][1]]:
            self._batch.clear()
            for key in more:
                place, last = places[key], np.array(guesses[key][-1:], np.int32)
                self._batch.add(place.id, last, len(place.tokens), rows=[0])
                place.tokens = np.concatenate([place.tokens, last])
            self._context.decode(self._batch)
            for key, token in zip(more, self._most_likely(more), strict=True):
                guesses[key].append(token)

    def _most_likely(self, keys: Many[Key]) -> list[int]:
        """Of the last step's rows, one for each of `keys`."""
        if not keys:
            return []
        tokens: list[int] = self._context.logits(len(keys))[:, : self._n_vocab].argmax(axis=1).tolist()
        return tokens

    def _start_over(self) -> None:
        """Its cache is full, or in doubt: read anew."""
        self._context.clear()
        self._free += [place.id for place in self._places.values()]
        self._places.clear()
