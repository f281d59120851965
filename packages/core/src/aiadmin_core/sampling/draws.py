"""A choice's random numbers: a function of its seed and of the token's place in the answer, and of nothing else.

Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): any place in the stream
is reached directly, so that a sequence that was put back, or that chooses several tokens in one step, draws what it
would have drawn anyway.
"""

import secrets

import numpy as np
import numpy.typing as npt

PER_TOKEN = 4
"""Numbers for each token; Philox makes as many at a time."""
_BLOCK = 64
"""Tokens whose numbers are made together."""


def seed_of(seed: int | None, choice: int) -> int:
    """The 64-bit seed of a request's choice: choice i continues with seed + i; None draws one."""
    return secrets.randbits(64) if seed is None else (seed + choice) % 2**64


class Draws:
    """The numbers of one choice."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._block = -1
        self._numbers: npt.NDArray[np.float64] = np.empty(0)

    def at(self, n: int) -> npt.NDArray[np.float64]:
        """float64[PER_TOKEN] in [0, 1) for the `n`-th token of the answer, counted from 0."""
        block, place = divmod(n, _BLOCK)
        if block != self._block:
            bits = np.random.Philox(key=np.array([self._seed, 0], np.uint64), counter=block * _BLOCK)
            self._numbers = np.random.Generator(bits).random((_BLOCK, PER_TOKEN))
            self._block = block
        numbers: npt.NDArray[np.float64] = self._numbers[place]
        return numbers
