"""What embedding and scoring give back: numbers as bytes, and what they cost.

Bytes, because a list of floats is four times as long on the wire: a few hundred inputs would exceed a frame.
"""

from msgspec import Struct


class Vectors(Struct, frozen=True, kw_only=True):
    """One L2-normalised vector for each input, in their order."""

    data: bytes
    """float32, little-endian, a row of `n_dims` for each input: `numpy.frombuffer(data, "<f4").reshape(-1, n_dims)`."""
    n_dims: int
    n_tokens: tuple[int, ...]
    """Tokens of each input."""


class Scores(Struct, frozen=True, kw_only=True):
    """One relevance for each document, in their order; higher is better, from 0 to 1 (a cosine: from -1)."""

    data: bytes
    """float32, little-endian: `len(n_tokens)` of them."""
    n_tokens: tuple[int, ...]
    """Tokens read for each document, those of the query included."""
