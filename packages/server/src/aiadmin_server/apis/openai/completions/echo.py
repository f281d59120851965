"""A request's prompt as its answers begin with it, told in pieces as the engine scores it. Pure, one for a prompt."""

import codecs
from collections.abc import Sequence

from aiadmin_core.specs import events as core

from . import wire
from .logprobs import text_logprobs


class PromptEcho:
    """`asked` is the prompt, None where it is tokens, whose text only their scores tell."""

    def __init__(self, asked: str | None) -> None:
        self._asked = asked
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        """Holds what a character has so far that is several tokens."""
        self._offset: int | None = None
        """Characters before the next token; below 0 in front of the text, None before the first."""

    @property
    def n_characters(self) -> int:
        """Told so far."""
        return max(0, self._offset or 0)

    def take(self, tokens: Sequence[core.PromptToken]) -> tuple[str, wire.TextLogprobs | None]:
        """What these add to the text, and what there is to be told of them."""
        held = self._decoder.getstate()
        text = self._decoder.decode(b"".join(item.bytes for item in tokens))
        n_added = self._n_added(text, tokens) if self._offset is None else 0
        start = -n_added if self._offset is None else self._offset
        self._offset = start + len(text)
        return text[n_added:], text_logprobs(tokens, start, held)

    def rest(self) -> str:
        """The prompt is over: a character that is not complete is none."""
        text = self._decoder.decode(b"", final=True)
        self._offset = self.n_characters + len(text)
        return text

    def _n_added(self, text: str, tokens: Sequence[core.PromptToken]) -> int:
        """A tokenizer puts a token, or a space, in front of what was asked: both begin where the text does."""
        if not self._asked:
            return 0 if self._asked is None else len(text)
        is_one_token = bool(tokens) and text == tokens[0].bytes.decode("utf-8", "replace")
        found = (n for n in range(len(text) + is_one_token) if self._asked.startswith(text[n:]))
        return next(found, 0)
