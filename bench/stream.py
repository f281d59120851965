"""One client of an OpenAI-compatible server: asks, reads the stream, and notes when what came.

Client and servers share the processors, so it speaks HTTP by itself: httpx takes 0.6 ms for each token, as much as a
server has to do for it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

Message = dict[str, str]


class Refused(Exception):
    """The server did not answer with a stream of text."""


@dataclass
class Stream:
    """What one client got. Moments are `time.perf_counter`'s."""

    began_at: float
    ended_at: float = 0.0
    """When its last text came."""
    first_s: float = 0.0
    """From the question to the first text."""
    n_tokens: int = 0
    text: str = ""
    gaps_s: list[float] = field(default_factory=list)
    """Between two deltas."""


@dataclass(frozen=True)
class Server:
    """Where to ask (a base URL with /v1), and as what the model is known there."""

    url: str
    model: str

    async def ask(self, messages: Sequence[Message], n_tokens: int) -> Stream:
        """`n_tokens` after `messages`, streamed, the most likely one each time. Raises `Refused`."""
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": n_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
        }
        previous = time.perf_counter()
        result = Stream(began_at=previous)
        async for data in _events(f"{self.url.rstrip('/')}/chat/completions", body):
            chunk: dict[str, Any] = msgspec.json.decode(data)
            now = time.perf_counter()
            if usage := chunk.get("usage"):
                result.n_tokens = usage["completion_tokens"]
            if chunk.get("choices") and (delta := chunk["choices"][0]["delta"].get("content")):
                result.text += delta
                if result.first_s:
                    result.gaps_s.append(now - previous)
                else:
                    result.first_s = now - result.began_at
                previous = now
        if not result.n_tokens:
            raise Refused(f"{self.url}: the stream ended without usage")
        result.ended_at = previous
        return result


async def _events(url: str, body: object) -> AsyncIterator[bytes]:
    """The JSON of each server-sent event."""
    at = urlsplit(url)
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(at.hostname, at.port or 80, limit=2**24)
    head = (
        f"POST {at.path} HTTP/1.1\r\nhost: {at.netloc}\r\nauthorization: Bearer bench\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + data)
    try:
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        if " 200 " not in f"{status} ":
            raise Refused(f"{url}: {status} {(await reader.read(2000)).decode(errors='replace')}")
        pending = b""
        async for piece in _pieces(reader, chunked="transfer-encoding: chunked" in headers):
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    yield line[6:]
    finally:
        writer.close()


async def _pieces(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    """The body as it comes (RFC 9112, 7.1)."""
    while not chunked and (data := await reader.read(2**16)):
        yield data
    while chunked and (size := int((await reader.readline()).partition(b";")[0], 16)):
        yield (await reader.readexactly(size + 2))[:-2]
