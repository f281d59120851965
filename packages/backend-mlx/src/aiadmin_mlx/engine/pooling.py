"""Vectors of texts from a model that generates: the mean of its last hidden states. Computed on the engine thread, to
which the weights belong, between two of its steps."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from aiadmin_core.embedder import N_SEQUENCES

from ..padding import Tokens, of_like_lengths, padded

MOST_BESIDE = 1024
"""Tokens of a text: they are read at once, and whoever is being answered waits meanwhile."""

Rows = list[npt.NDArray[np.float32]]


def hidden_states(call: Any) -> Callable[[mx.array], mx.array] | None:
    """What of a model of mlx-lm gives (tokens [n, longest]) -> its last hidden states [n, longest, n_embd]; None where
    that is not to be had as nearly all of them have it."""
    inner = getattr(call, "model", None)
    if not callable(inner):
        return None
    try:
        found = inner(mx.array([[1, 1]]))
        mx.eval(found)
    except Exception:  # whatever an architecture says to being asked without a cache
        return None
    return inner if isinstance(found, mx.array) and found.ndim == 3 and found.shape[:2] == (1, 2) else None


class Pooling:
    """`embedder.EmbeddingContext` over a model that an engine thread owns."""

    n_sequences = N_SEQUENCES

    def __init__(
        self,
        on_thread: Callable[[Callable[[], Rows]], "Future[Rows]"],
        hidden: Callable[[mx.array], mx.array],
        *,
        n_most: int,
    ) -> None:
        """`on_thread` runs something on the engine thread, where `hidden` may be called."""
        self._on_thread, self._hidden = on_thread, hidden
        self.n_most = min(n_most, MOST_BESIDE)

    def embed(self, inputs: Sequence[Tokens]) -> Rows:
        """A row of any length for each input."""
        rows: Rows = [np.empty(0, np.float32)] * len(inputs)
        for group in of_like_lengths([len(tokens) for tokens in inputs]):
            chosen = [inputs[index] for index in group]
            for index, row in zip(group, self._on_thread(lambda: self._means(chosen)).result(), strict=True):  # noqa: B023 - it is waited for
                rows[index] = row
        return rows

    def interrupt(self) -> None:
        """What is computed is a step's work: the end waits for it."""

    def close(self) -> None:
        """The weights are the engine's."""

    def _means(self, inputs: Sequence[Tokens]) -> Rows:
        """On the engine thread. A text reads nothing of the padding behind it, since none looks ahead."""
        tokens, held = padded(inputs)
        mask = held[..., None].astype(mx.float32)
        means = (self._hidden(tokens).astype(mx.float32) * mask).sum(axis=1) / mask.sum(axis=1)
        return list(np.array(means, np.float32))
