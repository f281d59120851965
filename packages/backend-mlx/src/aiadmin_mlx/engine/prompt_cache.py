"""Prefixes kept between requests, within a byte budget, the least recently used dropped first. Engine thread only.

An entry is the caches of one sequence (mlx-lm's, one a layer) and the tokens that are in them. What is handed out is a
copy that shares the arrays until one of the two is written to: MLX copies on write.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache


@dataclass(frozen=True, kw_only=True)
class _Entry:
    salt: str
    tokens: tuple[int, ...]
    caches: list[Any]
    n_bytes: int


class PromptCache:
    """Finds the longest kept prefix of a prompt."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[_Entry] = []  # least recently used first

    @property
    def n_tokens(self) -> int:
        return sum(len(entry.tokens) for entry in self._entries)

    @property
    def n_bytes(self) -> int:
        return sum(entry.n_bytes for entry in self._entries)

    def find(self, salt: str, prompt: Sequence[int], *, most: int | None = None) -> tuple[int, list[Any] | None]:
        """(n, caches holding exactly the first n tokens of `prompt`), n as large as what is kept under `salt` allows,
        less than the prompt's length and no more than `most`; (0, None) where nothing fits.

        Caches that cannot be cut back (rotating ones that have turned over, recurrent ones) serve only as a whole.
        """
        prompt = tuple(prompt)
        longest = len(prompt) - 1 if most is None else min(most, len(prompt) - 1)
        best: tuple[int, _Entry] | None = None
        for entry in self._entries:
            if entry.salt != salt:
                continue
            n = min(common_prefix(entry.tokens, prompt), longest)
            if n > (best[0] if best else 0) and (n == len(entry.tokens) or can_trim_prompt_cache(entry.caches)):
                best = (n, entry)
        if best is None:
            return 0, None
        n, entry = best
        self._entries.remove(entry)
        self._entries.append(entry)
        caches = copy.deepcopy(entry.caches)
        if excess := len(entry.tokens) - n:
            trim_prompt_cache(caches, excess)
        return n, caches

    def keep(self, salt: str, tokens: Sequence[int], caches: list[Any]) -> None:
        """Keep `caches`, which hold `tokens` and are nobody else's from now on. Entries that are a prefix of it are
        dropped where it can be cut back to serve in their place."""
        entry = _Entry(salt=salt, tokens=tuple(tokens), caches=caches, n_bytes=sum(cache.nbytes for cache in caches))
        if not entry.tokens or entry.n_bytes > self._max_bytes:
            return
        trimmable = can_trim_prompt_cache(caches)
        self._entries = [other for other in self._entries if not _replaces(entry, other, trimmable=trimmable)]
        self._entries.append(entry)
        while self.n_bytes > self._max_bytes:
            self._entries.pop(0)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()


def common_prefix(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """How many tokens both begin with: a binary search, each probe one comparison in C."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _replaces(new: _Entry, old: _Entry, *, trimmable: bool) -> bool:
    if new.salt != old.salt:
        return False
    return new.tokens == old.tokens or (trimmable and new.tokens[: len(old.tokens)] == old.tokens)
