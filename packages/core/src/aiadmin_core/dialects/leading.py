"""White space in front of an answer's first call belongs to nobody: many templates have a line end there."""

from collections.abc import Sequence

from .dialect import CallPiece, Parser, Piece


class LeadingSpace:
    """See `dialect.Parser`. What `inner` reads, without white space at the beginning where a call follows it."""

    def __init__(self, inner: Parser) -> None:
        self._inner = inner
        self._space = ""
        self._begun = False

    @property
    def reasoning(self) -> bool:
        return self._inner.reasoning

    @property
    def n_held(self) -> int:
        return len(self._space) + self._inner.n_held

    def feed(self, text: str) -> Sequence[Piece]:
        if self._begun:
            return self._inner.feed(text)
        if self._inner.n_held == 0:
            rest = text.lstrip()
            self._space += text[: len(text) - len(rest)]
            text = rest
        return self._with_space(self._inner.feed(text)) if text else []

    def end(self, token: str) -> Sequence[Piece]:
        pieces = self._with_space(self._inner.end(token))
        text, self._space = self._space, ""
        return [*pieces, text] if text else pieces

    def _with_space(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        if self._begun or not pieces:
            return pieces
        self._begun = True
        text, self._space = self._space, ""
        return pieces if isinstance(pieces[0], CallPiece) or not text else [text, *pieces]
