"""DRY: a penalty for tokens that would go on with a repetition (p-e-w, text-generation-webui pull 5677). As llama.cpp
computes it (`llama_sampler_dry` of src/llama-sampler.cpp), on arrays in place of its Z-algorithm. Pure.
"""

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..backend import Tokenizer

Tokens = npt.NDArray[np.int32]

_LONGEST_TEXT = 40
"""Bytes of a breaker that count."""
_LONGEST_TAIL = 20
"""Tokens of a breaker that count, behind its first."""
_MOST_KEPT = 16
"""Lists of breakers."""
_LARGEST_LOG = 88.7228391
"""Of a float32: higher powers of the base are cut."""


@dataclass(frozen=True, eq=False)
class Breakers:
    """Where repetitions are cut: tokens that contain a breaker, or begin one that the next tokens end."""

    heads: npt.NDArray[np.bool_]
    """bool[n_vocab]: tokens that any breaker begins with."""
    whole: npt.NDArray[np.bool_]
    """bool[n_vocab]: those that are, or contain, one all by themselves. They are never penalised."""
    tails: dict[int, tuple[tuple[int, ...], ...]]
    """What has to follow the other heads."""

    @classmethod
    def none(cls, n_vocab: int) -> "Breakers":
        """Repetitions go on across everything."""
        nowhere = np.zeros(n_vocab, np.bool_)
        return cls(nowhere, nowhere, {})

    def limit(self, window: Tokens) -> int:
        """How many tokens at the end of `window` follow its last breaker."""
        for at in np.flatnonzero(self.heads[window])[::-1]:
            behind = window[at + 1 :]
            tails = [tail for tail in self.tails.get(int(window[at]), ()) if behind[: len(tail)].tolist() == [*tail]]
            if self.whole[window[at]] or tails:
                return len(behind) - max(map(len, tails), default=0)
        return len(window)


class BreakerFinder:
    """Finds breakers in one vocabulary, and keeps the last ones that were asked for. Any thread.

    The first look at a vocabulary reads each of its tokens: a tenth of a second for 49,152.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._known: dict[tuple[str, ...], Breakers] = {}

    def find(self, texts: tuple[str, ...]) -> Breakers:
        """`texts` in this vocabulary."""
        with self._lock:
            if not self._pieces:
                self._pieces = [self._tokenizer.piece(token) for token in range(self._tokenizer.n_vocab)]
            if texts not in self._known:
                while len(self._known) >= _MOST_KEPT:
                    del self._known[next(iter(self._known))]
                encode = partial(self._tokenizer.encode, special=False)
                self._known[texts] = find_breakers(texts, self._pieces, encode)
            return self._known[texts]


def find_breakers(texts: Iterable[str], pieces: Sequence[bytes], encode: Callable[[str], Sequence[int]]) -> Breakers:
    """`pieces` are the bytes of every token of the vocabulary, `encode` gives the tokens of a text."""
    whole = np.zeros(len(pieces), np.bool_)
    begun: dict[bytes, list[bytes]] = {}  # what a token may end in, and which breakers begin so
    for text in texts:
        raw = text.encode()[:_LONGEST_TEXT]
        if raw:
            whole[[token for token, piece in enumerate(pieces) if raw in piece]] = True
        for n in range(1, len(raw)):
            begun.setdefault(raw[:n], []).append(raw)
    rests = {
        (head, raw): tuple(encode(raw[len(head) :].decode("utf-8", "replace"))[:_LONGEST_TAIL])
        for head, raws in begun.items()
        for raw in raws
    }
    tails: dict[int, set[tuple[int, ...]]] = {}
    longest = max(map(len, begun), default=0)
    for token, piece in enumerate(pieces) if begun else ():
        for n in range(1, min(longest, len(piece)) + 1):
            for raw in begun.get(piece[-n:], ()):
                if raw not in piece:
                    tails.setdefault(token, set()).add(rests[piece[-n:], raw])
    heads = whole.copy()
    heads[list(tails)] = True
    return Breakers(heads, whole, {token: tuple(sorted(found)) for token, found in tails.items()})


def penalties(
    window: Tokens, found: Breakers, *, multiplier: float, base: float, allowed_length: int
) -> tuple[Tokens, npt.NDArray[np.float32]]:
    """(token ids, what to subtract from their logits), for what may follow `window`."""
    most = int(_LARGEST_LOG / math.log(base)) if base > 1.000001 else 0
    limit = min(found.limit(window), allowed_length + most)
    if len(window) <= allowed_length or limit < allowed_length or base < 1:
        return _NOTHING
    tokens, lengths = continuations(window, longest=max(limit, 0))
    penalised = (lengths >= allowed_length) & ~found.whole[tokens]
    tokens, lengths = tokens[penalised], lengths[penalised]
    return tokens, (multiplier * np.power(float(base), lengths - allowed_length)).astype(np.float32)


def continuations(window: Tokens, *, longest: int) -> tuple[Tokens, npt.NDArray[np.int64]]:
    """(token ids, lengths): every token that followed an earlier occurrence of `window`'s own end, and how many tokens
    long that occurrence was, at most `longest`; the longest one for each token, 0 where even its last token differs."""
    n = len(window)
    ends = np.arange(n - 1)  # where earlier occurrences end
    lengths = np.zeros(n - 1, np.int64)
    for length in range(longest):
        ends = ends[ends >= length]
        ends = ends[window[ends - length] == window[n - 1 - length]]
        if len(ends) == 0:
            break
        lengths[ends] = length + 1
    tokens = window[1:]
    order = np.lexsort((lengths, tokens))
    last_of_each = np.append(tokens[order][1:] != tokens[order][:-1], True)
    kept = order[last_of_each]
    return tokens[kept], lengths[kept]


_NOTHING = (np.empty(0, np.int32), np.empty(0, np.float32))
