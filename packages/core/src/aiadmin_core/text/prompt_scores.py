"""A prompt's own log-probabilities, told while it is read. Used by `Generation`, one for a request that asks."""

from collections.abc import Callable

from ..backend import PromptRows
from ..specs.events import Alternative, PromptToken
from ..specs.prompt import Prompt, TokenSegment


class PromptScores:
    """`shown` gives a token's bytes, control tokens spelled out."""

    def __init__(self, prompt: Prompt, shown: Callable[[int], bytes]) -> None:
        self._tokens = [token for segment in prompt if isinstance(segment, TokenSegment) for token in segment.tokens]
        self._shown = shown
        self._n_told = 0

    def take(self, rows: PromptRows) -> tuple[PromptToken, ...]:
        """What the engine found of the next tokens; the prompt's first one goes before them."""
        told = self._first()
        start = self._n_told + len(told)
        tokens = self._tokens[start : start + len(rows.logprobs)]
        for token, logprob, top in zip(tokens, rows.logprobs, rows.top, strict=True):
            others = tuple(Alternative(other, self._shown(other), chance) for other, chance in top)
            told.append(PromptToken(token, self._shown(token), logprob, others))
        self._n_told += len(told)
        return tuple(told)

    def rest(self) -> tuple[PromptToken, ...]:
        """The prompt is read: what has not been told, which is a token that is all of it. Raises `ValueError` where the
        engine has left some out."""
        told = self._first()
        if self._n_told + len(told) != len(self._tokens):
            raise ValueError(f"the engine scored {self._n_told} of the prompt's {len(self._tokens)} tokens")
        self._n_told += len(told)
        return tuple(told)

    def _first(self) -> list[PromptToken]:
        return [] if self._n_told else [PromptToken(token, self._shown(token)) for token in self._tokens[:1]]
