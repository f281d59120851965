"""Core's vectors to a list of embeddings: pure, one object for each response."""

import base64
from collections.abc import Sequence

from aiadmin_core.specs import events as core
from aiadmin_core.specs.vectors import Vectors

from ....serving.exchange import Opened
from ....serving.vectors import FLOAT_BYTES, plain
from ....serving.writer import ChunkWriter
from . import wire


class EmbeddingWriter(ChunkWriter):
    """A list of embeddings, always whole."""

    def __init__(self, model: str, *, as_base64: bool) -> None:
        self._model = model
        self._as_base64 = as_base64

    def begin(self, opened: Opened) -> None:
        self._model = opened.lease.answers_as

    def chunks(self, event: core.Event) -> tuple[()]:  # noqa: ARG002 - nothing is streamed here
        return ()

    def whole(self, events: Sequence[core.Event]) -> wire.EmbeddingList:
        vectors = next(event.vectors for event in events if isinstance(event, core.Embedded))
        n_tokens = sum(event.usage.prompt_tokens for event in events if isinstance(event, core.Finished))
        rows: Sequence[list[float] | str] = encoded(vectors) if self._as_base64 else plain(vectors)
        return wire.EmbeddingList(
            data=[wire.Embedding(index=index, embedding=row) for index, row in enumerate(rows)],
            model=self._model,
            usage=wire.EmbeddingUsage(prompt_tokens=n_tokens, total_tokens=n_tokens),
        )


def encoded(vectors: Vectors) -> list[str]:
    """Each vector's float32, little-endian, in base64."""
    data, size = vectors.data, vectors.n_dims * FLOAT_BYTES
    return [base64.b64encode(data[start : start + size]).decode() for start in range(0, len(data), size)]
