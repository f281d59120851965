"""The arrays `llama_decode` reads. One `Batch` is filled again and again by the engine thread: nothing is allocated
in a step."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as lib

Tokens = npt.NDArray[np.int32]


class Batch:
    """Room for `n_batch` tokens of any sequences.

    The arrays are numpy's, the pointers to them are made once; each token belongs to one sequence.
    """

    def __init__(self, n_batch: int) -> None:
        self._tokens = np.zeros(n_batch, np.int32)
        self._positions = np.zeros(n_batch, np.int32)
        self._sequences = np.zeros(n_batch, np.int32)
        self._n_sequences = np.ones(n_batch, np.int32)
        self._wants_logits = np.zeros(n_batch, np.int8)
        first = self._sequences.ctypes.data
        pointers = np.arange(first, first + 4 * n_batch, 4, dtype=np.uintp)
        self._sequence_pointers = pointers
        self._counting = np.arange(n_batch, dtype=np.int32)
        self.native: Any = lib.llama_batch(
            0,
            self._tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            None,
            self._positions.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            self._n_sequences.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            self._wants_logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
        self.n_tokens = 0

    def clear(self) -> None:
        self.n_tokens = 0
        self.native.n_tokens = 0

    def add(self, sequence: int, tokens: Tokens, position: int, *, rows: Sequence[int] = ()) -> int:
        """Append consecutive tokens of one sequence, the first at `position`.

        `rows` are those whose logits are wanted, counted from the first. Returns the place of the first in the batch.
        """
        start, end = self.n_tokens, self.n_tokens + len(tokens)
        if len(tokens) == 1:  # the common step; scalars cost a third of slices
            self._tokens[start] = tokens[0]
            self._positions[start] = position
            self._sequences[start] = sequence
            self._wants_logits[start] = bool(rows)
        else:
            self._tokens[start:end] = tokens
            np.add(self._counting[: end - start], position, out=self._positions[start:end])
            self._sequences[start:end] = sequence
            self._wants_logits[start:end] = 0
            for row in rows:
                self._wants_logits[start + row] = 1
        self.n_tokens = self.native.n_tokens = end
        return start
