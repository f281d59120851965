"""Token bytes to text, a piece at a time. Used by `pipeline`, one instance for each choice."""

import codecs


class Detokenizer:
    """Never gives out half a character. Bytes that cannot become UTF-8 are U+FFFD as soon as that is certain."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        """The characters that are complete with `piece`."""
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never completed, or nothing."""
        return self._decoder.decode(b"", final=True)
