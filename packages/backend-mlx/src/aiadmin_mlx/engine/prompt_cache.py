"""Prefixes kept between requests, within a byte budget, the least recently used dropped first. Engine thread only.

An entry is the caches of one sequence (mlx-lm's, one a layer) and the tokens that are in them. What is handed out is a
copy that shares the arrays until one of the two is written to: MLX copies on write. What is kept is written to files,
if there is a folder for them, while the engine rests and when it closes, and read when a prompt begins like it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

from aiadmin_core.cache.parking import Folder, Header, checksum_of, digest_of, hashed, tokens_of

from . import cache_file

WORTH_SAVING = 32
"""Tokens from which on a prefix is worth a file."""

REST_BYTES = 64 << 20
"""Most that is written in one go while the engine rests, since whoever asks meanwhile waits for it: twice as much
took 0.55 s on two cores. What is larger waits for the end."""

GROWN = 1.25
"""How many times as long as what files hold of it a prefix has to be to be written at rest. Each turn of a conversation
is longer, and a file holds it whole: so what is written comes to five times the last one, and not to one a turn."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Entry:
    key: str
    """Of its salt (`parking.hashed`)."""
    tokens: tuple[int, ...]
    caches: list[Any] | None
    """None while they are only in a file."""
    n_bytes: int
    """In memory."""
    cuttable: bool
    """Whether some of the end can be given up. Taken to be so of a file, until it is read."""
    digest: str = ""
    """Of its file; "" while it has none."""
    rested: bool = False
    """Whether the engine has rested since: it was written, or is left to the end."""

    def serves(self, n: int) -> bool:
        return n == len(self.tokens) or self.cuttable


class PromptCache:
    """Finds the longest kept prefix of a prompt."""

    def __init__(self, max_bytes: int, folder: Folder | None = None) -> None:
        self._max_bytes = max_bytes
        self._folder = folder
        self._entries = [_of_file(digest, header) for digest, header in folder.headers()] if folder else []
        """The least recently used first."""

    @property
    def n_tokens(self) -> int:
        return sum(len(entry.tokens) for entry in self._entries if entry.caches is not None)

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
        while (best := self._best(hashed(salt), prompt, longest)) is not None:
            n, entry = best
            caches = entry.caches or self._read(entry)
            if caches is None or not entry.serves(n):
                continue  # its file is damaged or gone, or turned out not to serve: the next best
            self._entries.remove(entry)
            self._entries.append(entry)
            caches = copy.deepcopy(caches)
            if excess := len(entry.tokens) - n:
                trim_prompt_cache(caches, excess)
            return n, caches
        return 0, None

    def keep(self, salt: str, tokens: Sequence[int], caches: list[Any]) -> None:
        """Keep `caches`, which hold `tokens` and are nobody else's from now on. Entries that are a prefix of it are
        dropped where it can be cut back to serve in their place."""
        n_bytes = sum(cache.nbytes for cache in caches)
        if not tokens or n_bytes > self._max_bytes:
            return
        cuttable = can_trim_prompt_cache(caches)
        entry = _Entry(key=hashed(salt), tokens=tuple(tokens), caches=caches, n_bytes=n_bytes, cuttable=cuttable)
        for other in [other for other in self._entries if _replaces(entry, other)]:
            if other.tokens == entry.tokens:
                entry.digest = other.digest  # the same file
                self._entries.remove(other)
            else:
                self._drop_bytes(other)  # its file stays until there is one of this: a runner may be killed before
        self._entries.append(entry)
        self._make_room()

    def clear(self) -> None:
        """Drop everything that is in memory."""
        for entry in list(self._entries):
            self._drop_bytes(entry)

    def rest(self) -> bool:
        """Nobody runs: look at one that has come since, the last used first, and write it, if that is worth it by now.
        False where there was none."""
        entry = next(
            (entry for entry in reversed(self._entries) if entry.caches is not None and not entry.rested), None
        )
        if entry is None or self._folder is None:
            return False
        entry.rested = True
        if self._is_due(entry):
            self._write(entry)
        return True

    def close(self, *, within_s: float) -> None:
        """Write what has no file yet, the last used first, for as long as that."""
        until = monotonic() + within_s
        for entry in self._entries[::-1]:
            if monotonic() > until or not self._write(entry):
                return

    def _best(self, key: str, prompt: tuple[int, ...], longest: int) -> tuple[int, _Entry] | None:
        """The entry that most tokens of `prompt` begin with, as far as is known: files are taken to serve. Of equals,
        one that need not be read."""
        best: tuple[int, _Entry] | None = None
        for entry in self._entries:
            if entry.key == key:
                n = min(common_prefix(entry.tokens, prompt), longest)
                if not n or not entry.serves(n):
                    continue
                if best is None or (n, entry.caches is not None) > (best[0], best[1].caches is not None):
                    best = (n, entry)
        return best

    def _is_due(self, entry: _Entry) -> bool:
        """Whether it is to be written at rest."""
        if entry.digest or len(entry.tokens) < WORTH_SAVING or entry.n_bytes > REST_BYTES:
            return False
        files = [other.tokens for other in self._entries if other.digest and other.key == entry.key]
        held = max((common_prefix(tokens, entry.tokens) for tokens in files), default=0)
        return not entry.cuttable or len(entry.tokens) >= GROWN * held

    def _read(self, entry: _Entry) -> list[Any] | None:
        """The caches of a file, kept from now on; None, and the entry gone, where it is damaged or gone itself."""
        state = self._folder.read(entry.digest) if self._folder else None
        caches = None if state is None else cache_file.decode(state)
        if caches is None:
            self._drop(entry)
            return None
        entry.caches, entry.cuttable = caches, can_trim_prompt_cache(caches)
        entry.n_bytes = sum(cache.nbytes for cache in caches)
        self._entries.remove(entry)
        self._entries.append(entry)
        self._make_room()
        return caches

    def _write(self, entry: _Entry) -> bool:
        """False where no more can be written."""
        if self._folder is None:
            return False
        if entry.caches is None or len(entry.tokens) < WORTH_SAVING:
            return True
        if entry.digest and self._folder.has(entry.digest):
            return True
        tokens = np.array(entry.tokens, np.int32)
        state = cache_file.encode(entry.caches)
        if state is None:
            return True
        header = Header(
            key=entry.key,
            parent="",
            start=0,
            tokens=tokens.astype("<i4").tobytes(),
            n_bytes=len(state),
            checksum=checksum_of(state),
        )
        digest = digest_of(entry.key, "", tokens)
        if not self._folder.write(digest, header, state):
            return False
        entry.digest = digest
        for other in [other for other in self._entries if other is not entry and _replaces(entry, other)]:
            self._drop(other)
        return True

    def _make_room(self) -> None:
        while self.n_bytes > self._max_bytes:
            self._drop_bytes(next(entry for entry in self._entries if entry.caches is not None))

    def _drop_bytes(self, entry: _Entry) -> None:
        entry.caches, entry.n_bytes = None, 0
        if not entry.digest:
            self._entries.remove(entry)

    def _drop(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        entry.caches = None
        if entry.digest and self._folder:
            self._folder.remove(entry.digest)


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


def _replaces(new: _Entry, old: _Entry) -> bool:
    if new.key != old.key:
        return False
    return new.tokens == old.tokens or (new.cuttable and new.tokens[: len(old.tokens)] == old.tokens)


def _of_file(digest: str, header: Header) -> _Entry:
    tokens = tuple(tokens_of(header).tolist())
    return _Entry(key=header.key, tokens=tokens, caches=None, n_bytes=0, cuttable=True, digest=digest)
