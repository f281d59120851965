"""What prompts that were scored came to, so that those that begin alike need not be computed again: a question with
four answers to choose from is scored four times. Both backends' engine threads have one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..sampling.logprobs import Likelihood

Tokens = npt.NDArray[np.int32]

MOST_TOKENS = 16_384
"""Of all prompts that are remembered: about 10 MB with five alternatives each. A longer prompt is not."""

WORTH_WAITING = 32
"""Tokens that must be spared for a prompt to wait until another, which begins like it, has been scored."""


@dataclass(frozen=True, eq=False)
class _Entry:
    key: str
    tokens: Tokens
    found: list[Likelihood]


class ScoredPrompts:
    """The last ones, by what has to be the same for a score to be: `key`."""

    def __init__(self, most_tokens: int = MOST_TOKENS) -> None:
        self._most_tokens = most_tokens
        self._entries: list[_Entry] = []  # least recently used first

    def known(self, key: str, tokens: Tokens) -> list[Likelihood]:
        """Of the tokens of this prompt from the second on, as far as one before began alike."""
        best, n_most = None, 0
        for entry in self._entries:
            n = common_prefix(entry.tokens, tokens) - 1 if entry.key == key else 0
            if n > n_most:
                best, n_most = entry, n
        if best is None:
            return []
        self._entries.remove(best)
        self._entries.append(best)
        return best.found[:n_most]

    def keep(self, key: str, tokens: Tokens, found: Sequence[Likelihood]) -> None:
        """`tokens` have been scored: `found` is that of the second and all others."""
        if len(tokens) > self._most_tokens:
            return
        self._entries = [one for one in self._entries if not (one.key == key and _begins(tokens, one.tokens))]
        self._entries.append(_Entry(key, tokens, list(found)))
        while sum(len(entry.tokens) for entry in self._entries) > self._most_tokens:
            self._entries.pop(0)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def common_prefix(left: Tokens, right: Tokens) -> int:
    """How many tokens both begin with."""
    n = min(len(left), len(right))
    differ = left[:n] != right[:n]
    return int(differ.argmax()) if differ.any() else n


def _begins(tokens: Tokens, with_these: Tokens) -> bool:
    return len(with_these) <= len(tokens) and common_prefix(tokens, with_these) == len(with_these)
