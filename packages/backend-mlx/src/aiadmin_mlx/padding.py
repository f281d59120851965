"""Texts of several lengths as one batch. Used where vectors are made of them."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]


def of_like_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of inputs that are read together: none is padded to more than twice its length. Pure."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[index] <= 2 * lengths[groups[-1][0]]:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def padded(inputs: Sequence[Tokens]) -> tuple[mx.array, mx.array]:
    """(int32[n, longest], bool[n, longest]): the tokens, zeros behind them, and which of them are tokens."""
    longest = max(map(len, inputs))
    tokens = np.zeros((len(inputs), longest), np.int32)
    held = np.zeros((len(inputs), longest), bool)
    for row, one in enumerate(inputs):
        tokens[row, : len(one)] = one
        held[row, : len(one)] = True
    return mx.array(tokens), mx.array(held)
