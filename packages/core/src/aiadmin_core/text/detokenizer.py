"""Token bytes to text, a piece at a time. Used by `pipeline`, one instance for each choice."""

import codecs


class Detokenizer:
    """Never gives out half a character. Bytes that cannot become UTF-8 are U+FFFD as soon as that is certain."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        """The characters that are complete with `piece`."""
        return self._decoder.decode(piece)

    @property
    def n_held(self) -> int:
        """Bytes of a character that is not complete yet. They are no text: an answer that ends in them ends before."""
        return len(self._decoder.getstate()[0])
