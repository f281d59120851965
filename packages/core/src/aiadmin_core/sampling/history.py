"""The tokens a choice looks back on: its prompt's, then its own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]


class History:
    """int32 token ids, growing at the end."""

    def __init__(self, prompt: Sequence[int] | Tokens) -> None:
        self._n = len(prompt)
        self._tokens: Tokens = np.empty(self._n + 256, np.int32)
        self._tokens[: self._n] = prompt

    def append(self, token: int) -> None:
        if self._n == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.empty(self._n, np.int32)])
        self._tokens[self._n] = token
        self._n += 1

    def last(self, n: int) -> Tokens:
        """The last `n` tokens, oldest first; all of them for a negative `n`. Valid until the next `append`."""
        return self._tokens[max(0, self._n - n) if n >= 0 else 0 : self._n]
