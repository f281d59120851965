"""A sequence's token ids, growing at the end."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]


class TokenBuffer:
    """int32 token ids; `view` copies nothing."""

    __slots__ = ("_array", "n")

    def __init__(self, tokens: Sequence[int] | Tokens, *, spare: int = 0) -> None:
        """`spare`: how many tokens are expected to follow."""
        self.n = len(tokens)
        self._array: Tokens = np.empty(self.n + spare, np.int32)
        self._array[: self.n] = tokens

    def append(self, token: int) -> None:
        if self.n == len(self._array):
            self._array = np.concatenate([self._array, np.empty(max(64, self.n), np.int32)])
        self._array[self.n] = token
        self.n += 1

    def drop(self, n: int) -> None:
        """Forget the last `n`."""
        self.n -= n

    def view(self, start: int = 0, end: int | None = None) -> Tokens:
        """Tokens [start, end), at most those that are there; valid until the next `append`."""
        return self._array[start : self.n if end is None else min(end, self.n)]

    def copy(self, *, spare: int = 0) -> "TokenBuffer":
        return TokenBuffer(self.view(), spare=spare)
