"""The sequences that are decoded together and their caches. Engine thread only; the loop is the caller.

mlx-lm's batch caches right-align rows of different lengths by padding them on the left. One sequence alone keeps its
own, unpadded caches: they cost no mask, need no copy when it comes and goes, and exist for every model, while a few
models' caches cannot be merged into a batch at all.
"""

from typing import Any

import mlx.core as mx

from .sequence import Sequence


class DecodeBatch:
    """Rows of `sequences`, in order, and what each of them is fed next."""

    def __init__(self, model: Any) -> None:
        self.sequences: list[Sequence] = []
        self.inputs = mx.array([], dtype=mx.uint32)
        """uint32[n_rows]: the token each row has not been decoded with; maybe not computed yet."""
        self._model = model
        self._caches: list[Any] = []
        self._alone = True
        """Whether `_caches` are one sequence's own."""

    def join(self, sequences: list[Sequence], caches: list[Any], token: int) -> None:
        """Add rows that all begin with what `caches` hold and are fed `token` next. Takes `caches` over."""
        if not self.sequences and len(sequences) == 1:
            self._caches = caches
        else:
            joining = [cache.merge([cache] * len(sequences)) for cache in caches]
            if self.sequences:
                if self._alone:
                    self._caches = [cache.merge([cache]) for cache in self._caches]
                for cache, other in zip(self._caches, joining, strict=True):
                    cache.extend(other)
            else:
                self._caches = joining
            self._alone = False
        self.sequences = self.sequences + sequences
        self.inputs = mx.concatenate([self.inputs, mx.array([token] * len(sequences), dtype=mx.uint32)])

    def forward(self) -> mx.array:
        """Decode every row with its input: logits [n_rows, n_logits], not computed yet."""
        logits = self._model(self.inputs[:, None], cache=self._caches)
        for sequence in self.sequences:
            sequence.n_cells += 1
        return logits[:, -1, :]

    def extract(self, row: int) -> list[Any]:
        """The caches of one row, as that sequence's own; the batch must not go on with it."""
        return self._caches if self._alone else [cache.extract(row) for cache in self._caches]

    def retain(self, rows: list[int]) -> None:
        """Drop all other rows."""
        self.sequences = [self.sequences[row] for row in rows]
        if not rows:
            self._caches, self._alone = [], True
            self.inputs = mx.array([], dtype=mx.uint32)
            return
        self.inputs = self.inputs[mx.array(rows)]
        if len(rows) == 1:
            self._caches, self._alone = self.extract(rows[0]), True
            return
        for cache in self._caches:
            cache.filter(rows)
