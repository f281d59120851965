"""Which of several engines of a model a prompt goes to: the one that has read its beginning before, unless it is so
much busier that reading it again elsewhere is sooner done. Pure, but for what `Known` remembers.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

import msgspec

from aiadmin_core.specs.request import ChatInput, GenerateRequest, Request, TextInput, TokensInput

CHUNK = 1024
"""Bytes between two beginnings of a long text."""
MOST_BEGINNINGS = 256
"""Of one prompt: what two of them have in common beyond is much either way."""
MOST_KNOWN = 16_384
"""Beginnings that are remembered of an engine. Its cache holds fewer."""
WORTH_BYTES = 512
"""What was read already of a prompt, about 130 tokens, is worth one request that is before it (which is answered
beside it, and slows it down)..."""
MOST_WORTH = 4.0
"""...up to so many."""
WORTH_OF_KEY = 1
"""Bytes that an engine which was asked with a request's `cache_key` counts as having read of it: less than any text, so
that it decides between engines that are as busy and know as little."""

_encode = msgspec.msgpack.Encoder(order="sorted").encode


class Beginning(NamedTuple):
    """The first part of a prompt, or what a client says it will be like."""

    digest: bytes
    n_bytes: int


def beginnings(requests: Sequence[Request]) -> list[Beginning]:
    """Those of the first of them, the shortest first; none where it is no prompt to go on from."""
    if not requests or not isinstance(requests[0], GenerateRequest):
        return []
    return list(islice(_growing(requests[0]), MOST_BEGINNINGS))


def _growing(request: GenerateRequest) -> Iterator[Beginning]:
    if request.cache_key:
        alike = _encode((request.cache_salt, request.adapters, request.cache_key))
        yield Beginning(blake2b(alike, digest_size=16).digest(), WORTH_OF_KEY)
    hashed = blake2b(_encode((request.cache_salt, request.adapters)), digest_size=16)
    n_bytes = 0
    for part in _parts(request):
        for start in range(0, len(part), CHUNK):
            chunk = part[start : start + CHUNK]
            hashed.update(chunk)
            n_bytes += len(chunk)
            yield Beginning(hashed.digest(), n_bytes)


def _parts(request: GenerateRequest) -> Iterator[bytes]:
    """In the order in which templates write them."""
    match request.input:
        case ChatInput() as chat:
            if chat.tools:
                yield _encode(chat.tools)
            yield from map(_encode, chat.messages)
        case TextInput(text=text):
            yield text.encode()
        case TokensInput(tokens=tokens):
            yield b"".join(token.to_bytes(4, "little") for token in tokens)


class Known:
    """The beginnings that an engine was asked to read lately."""

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}  # the latest last

    def add(self, found: Sequence[Beginning]) -> None:
        """It is asked to read a prompt with these."""
        for one in reversed(found):  # so that the shortest, which most have in common, is forgotten last
            self._digests.pop(one.digest, None)
            self._digests[one.digest] = None
        while len(self._digests) > MOST_KNOWN:
            del self._digests[next(iter(self._digests))]

    def n_bytes(self, found: Sequence[Beginning]) -> int:
        """How much of a prompt with these it has read."""
        return next((one.n_bytes for one in reversed(found) if one.digest in self._digests), 0)


def choose(n_busy: Sequence[int], n_known: Sequence[int]) -> int:
    """The index of the engine to ask, of several that have so many requests and have read so many bytes of this one."""

    def cost(index: int) -> tuple[float, int, int]:
        worth = min(MOST_WORTH, n_known[index] / WORTH_BYTES)
        return n_busy[index] - worth, -n_known[index], n_busy[index]

    return min(range(len(n_busy)), key=cost)
