"""JSON that comes to its end while there are tokens for it: what is open is closed before the limit cuts it off. Used
by `compiler` (once a model) and `matcher` (near the limit, once a step).

Without it an answer that runs on, as those of small models do in texts and lists, is cut in the middle and no JSON at
all. One that was closed ends by itself, and is told as one that the limit ended.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..backend import Tokenizer

Mask = NDArray[np.int32]

SHARE, MOST = 8, 256
"""The last eighth of an answer is for its end, and at most so many tokens."""


@dataclass(frozen=True)
class Closing:
    """Tokens by what they do to JSON, as bitmasks: int32[ceil(n_vocab / 32)]."""

    brackets: Mask
    """End objects and lists, and nothing else."""
    quotes: Mask
    """End (or begin) a text, and end what it is in."""
    commas: Mask
    """End a number and go on with the next member."""
    letters: Mask
    """That stand in texts only: those of numbers and of `true`, `false` and `null` are not among them."""
    line_ends: Mask

    def narrowed(self, words: Mask) -> Mask:
        """Those of the allowed tokens `words` that lead to the end; all of them where nothing is open that could be
        closed: in thoughts, which are no JSON, and where only one way is left."""
        if _any(words & self.line_ends):  # no text of JSON's has one
            return words
        in_text = _any(words & self.letters) and _any(words & self.brackets)
        for tokens in (self.quotes,) if in_text else (self.brackets, self.quotes, self.commas):
            if _any(found := words & tokens):
                return found
        return words


def reserve(limit: int) -> int:
    """How many tokens of `limit` are kept for the end."""
    return min(limit // SHARE, MOST)


def closing_of(tokenizer: Tokenizer) -> Closing:
    """The tokens of one vocabulary."""
    kinds = (rb"[}\]]+", rb'"[}\]]*', rb', ?"?', rb"[kqxz]", rb"\n")
    found: list[list[int]] = [[] for _ in kinds]
    patterns = [re.compile(kind) for kind in kinds]
    for token in range(tokenizer.n_vocab):
        piece = tokenizer.piece(token)
        for tokens, pattern in zip(found, patterns, strict=True):
            if pattern.fullmatch(piece):
                tokens.append(token)
    return Closing(*(_bits(tokens, tokenizer.n_vocab) for tokens in found))


def _bits(tokens: list[int], n_vocab: int) -> Mask:
    bits = np.zeros((n_vocab + 31) // 32, dtype=np.uint32)
    for token in tokens:
        bits[token // 32] |= np.uint32(1 << (token % 32))
    return bits.view(np.int32)


def _any(words: Mask) -> bool:
    return bool(words.any())
