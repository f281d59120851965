"""What the endpoints of OpenAI's that generate text share around an answer: who it is from, and how it is streamed."""

import secrets
import time
from hashlib import sha256
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.errors import BadRequest, UnsupportedParameter

from ...serving.exchange import Opened
from ...serving.writer import ChunkWriter


class StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def check_stream_options(stream: bool | None, options: StreamOptions | None) -> None:
    """Raises `BadRequest` where they contradict the rest, or cannot be had."""
    if options is None:
        return
    if not stream:
        raise BadRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    if options.include_obfuscation:
        raise UnsupportedParameter("stream_options.include_obfuscation", why="chunks are sent as they are.")


def includes_usage(options: StreamOptions | None) -> bool:
    """Whether a stream's last chunk tells what the answer cost."""
    return bool(options and options.include_usage)


class Head(Struct, frozen=True, kw_only=True):
    """What every chunk of a response repeats."""

    id: str
    created: int
    """Unix time, seconds."""
    model: str
    """The name that was asked for; a fallback's own, where that answers."""
    system_fingerprint: str = ""
    """Known once the model is leased."""


def new_head(prefix: str, model: str) -> Head:
    """Of a new response to a request for `model`."""
    return Head(id=prefix + secrets.token_hex(16), created=int(time.time()), model=model)


def fingerprint(*parts: str) -> str:
    """Names what an answer depends on besides the request: backend, weights, versions."""
    return "fp_" + sha256("\0".join(parts).encode()).hexdigest()[:10]


class OpenAIWriter(ChunkWriter):
    """Unnamed events, and one that says `[DONE]`."""

    end: ClassVar[bytes] = b"data: [DONE]\n\n"

    def __init__(self, head: Head) -> None:
        self.head = head

    def begin(self, opened: Opened) -> None:
        lease = opened.lease
        known = fingerprint(lease.backend, lease.spec.digest)
        self.head = replace(self.head, model=lease.answers_as, system_fingerprint=known)
