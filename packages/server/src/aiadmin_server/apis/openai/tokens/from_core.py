"""Core's tokens as they are told: pure, one object for each response."""

from collections.abc import Sequence

from msgspec import UNSET

from aiadmin_core.specs import events as core

from ....serving.exchange import Opened
from ....serving.logprobs import spelled
from ....serving.writer import ChunkWriter
from . import wire


class WholeWriter(ChunkWriter):
    """An answer that is never streamed."""

    def chunks(self, event: core.Event) -> tuple[()]:  # noqa: ARG002 - nothing is streamed here
        return ()


class TokensWriter(WholeWriter):
    """`/v1/tokenize`."""

    def __init__(self, *, strings: bool, pieces: bool) -> None:
        """Whether each token's text is told: in a list of its own, or beside the token."""
        self._strings = strings
        self._pieces = pieces
        self._n_ctx = 0

    def begin(self, opened: Opened) -> None:
        self._n_ctx = opened.lease.engine.facts.n_ctx

    def whole(self, events: Sequence[core.Event]) -> wire.Tokens:
        found = _tokenized(events)
        shown: list[int | wire.Piece] = list(found.tokens)
        if self._pieces:
            pairs = zip(found.tokens, found.pieces, strict=True)
            shown = [wire.Piece(id=token, piece=_text_or_bytes(piece)) for token, piece in pairs]
        return wire.Tokens(
            count=len(found.tokens),
            max_model_len=self._n_ctx,
            tokens=shown,
            token_strs=list(map(spelled, found.pieces)) if self._strings else UNSET,
        )


class DetokenizedWriter(WholeWriter):
    """`/v1/detokenize`."""

    def whole(self, events: Sequence[core.Event]) -> wire.Text:
        text = b"".join(_tokenized(events).pieces).decode("utf-8", "replace")
        return wire.Text(prompt=text, content=text)


class InputTokensWriter(WholeWriter):
    """`/v1/chat/completions/input_tokens`."""

    def whole(self, events: Sequence[core.Event]) -> wire.InputTokens:
        return wire.InputTokens(input_tokens=len(_tokenized(events).tokens))


def _tokenized(events: Sequence[core.Event]) -> core.Tokenized:
    return next(event for event in events if isinstance(event, core.Tokenized))


def _text_or_bytes(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
