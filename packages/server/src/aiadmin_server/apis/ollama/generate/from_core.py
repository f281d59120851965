"""Core's events to lines of `/api/generate`: pure but for the time, one object for each response."""

from msgspec import UNSET

from ..answering import NativeWriter, Piece, logprobs_of, now
from . import wire


class GenerateWriter(NativeWriter):
    """Text."""

    def line(self, piece: Piece) -> wire.GenerateLine:
        return wire.GenerateLine(
            model=self.model,
            created_at=now(),
            response=piece.text,
            thinking=piece.thinking or UNSET,
            logprobs=logprobs_of(piece.logprobs),
            done=piece.end is not None,
            **(piece.end or {}),
        )
