"""Core's vectors as Ollama tells them, always whole: pure but for the time, one object for each response."""

import time
from collections.abc import Sequence

from msgspec import UNSET

from aiadmin_core.specs import events as core

from ....serving.exchange import Opened
from ....serving.vectors import plain
from ....serving.writer import ChunkWriter
from ..answering import ns
from . import wire


class EmbedWriter(ChunkWriter):
    """`/api/embed`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._begun_at = time.perf_counter()
        self._load_s = 0.0

    def begin(self, opened: Opened) -> None:
        self._model = opened.lease.answers_as
        self._load_s = opened.lease.load_s

    def chunks(self, event: core.Event) -> tuple[()]:  # noqa: ARG002 - nothing is streamed here
        return ()

    def whole(self, events: Sequence[core.Event]) -> wire.Embeddings:
        n_tokens = sum(event.usage.prompt_tokens for event in events if isinstance(event, core.Finished))
        return wire.Embeddings(
            model=self._model,
            embeddings=_rows(events),
            total_duration=ns(time.perf_counter() - self._begun_at),
            load_duration=ns(self._load_s),
            prompt_eval_count=n_tokens or UNSET,
        )


class OldEmbedWriter(ChunkWriter):
    """`/api/embeddings`."""

    def chunks(self, event: core.Event) -> tuple[()]:  # noqa: ARG002 - nothing is streamed here
        return ()

    def whole(self, events: Sequence[core.Event]) -> wire.OldEmbedding:
        return wire.OldEmbedding(embedding=next(iter(_rows(events)), []))


def _rows(events: Sequence[core.Event]) -> list[list[float]]:
    """None where the model was loaded, and asked nothing."""
    return [row for event in events if isinstance(event, core.Embedded) for row in plain(event.vectors)]
