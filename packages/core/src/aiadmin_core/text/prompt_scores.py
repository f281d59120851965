"""A prompt's own log-probabilities, gathered while it is read. Used by `Generation`, one for a request that asks."""

from collections.abc import Callable

from ..backend import PromptRows
from ..specs.events import Alternative, PromptToken
from ..specs.prompt import Prompt, TokenSegment


class PromptScores:
    """`shown` gives a token's bytes, control tokens spelled out."""

    def __init__(self, prompt: Prompt, shown: Callable[[int], bytes]) -> None:
        self._tokens = [token for segment in prompt if isinstance(segment, TokenSegment) for token in segment.tokens]
        self._shown = shown
        self._scored: list[PromptToken] = [PromptToken(token, shown(token)) for token in self._tokens[:1]]

    def add(self, rows: PromptRows) -> None:
        """Take in what the engine found of the next tokens."""
        start = len(self._scored)
        tokens = self._tokens[start : start + len(rows.logprobs)]
        for token, logprob, top in zip(tokens, rows.logprobs, rows.top, strict=True):
            others = tuple(Alternative(other, self._shown(other), chance) for other, chance in top)
            self._scored.append(PromptToken(token, self._shown(token), logprob, others))

    def complete(self) -> tuple[PromptToken, ...]:
        """All tokens of the prompt. Raises `ValueError` where the engine has left some out."""
        if len(self._scored) != len(self._tokens):
            raise ValueError(f"the engine scored {len(self._scored)} of the prompt's {len(self._tokens)} tokens")
        return tuple(self._scored)
