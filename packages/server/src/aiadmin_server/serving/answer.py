"""The response of every generating endpoint, whole or streamed: an ASGI app that works while its client listens.

Nothing is sent before the engine's first event, so that what fails until then has its own status and a JSON body;
what fails later is a last `data: {"error": ...}`. A client that leaves at any moment cancels the work.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Response
from litestar.types import HTTPResponseStartEvent, Receive, Scope, Send
from msgspec import Struct

from aiadmin_core.specs.events import Event

from ..apis.openai.chat.from_core import Format, coalesce
from ..apis.openai.chat.to_core import Call
from ..http import sse
from ..http.errors import told
from .exchange import Opened, Service

PING_S = 15.0
"""Silence after which a comment is sent, before proxies give up."""

Headers = Iterable[tuple[bytes, bytes]]
MakeFormat = Callable[[Opened], Format]
Opening = AbstractAsyncContextManager[Opened]


class Answer(Response[None]):
    """What a handler returns: the work is done when the response is sent."""

    def __init__(self, service: Service, call: Call, make_format: MakeFormat, *, stream: bool) -> None:
        super().__init__(None)
        self._service = service
        self._call = call
        self._make_format = make_format
        self._stream = stream

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Litestar calls what is returned with scope, receive and send."""
        return self._respond

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        opened = self._service.open(self._call, scope["state"], path)
        work = self._send_stream(opened, scope, send) if self._stream else self._send_whole(opened, send)
        if not await sse.while_connected(receive, work):
            self._service.on_disconnect(path)

    async def _send_whole(self, opening: Opening, send: Send) -> None:
        async with opening as opened:
            output = self._make_format(opened)
            events = [event async for event in opened.events]
            body = msgspec.json.encode(output.whole(events))
            headers = _extra_headers(opened)
        content = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send(_start([*content, *headers]))
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send_stream(self, opening: Opening, scope: Scope, send: Send) -> None:
        async with (
            opening as opened,
            aclosing(sse.batches(opened.events, idle_s=PING_S)) as batches,
        ):
            first = await _first(batches)
            await send(_start([*sse.HEADERS, *_extra_headers(opened)]))
            output = self._make_format(opened)

            async def write(data: bytes, *, more: bool = True) -> None:
                await send({"type": "http.response.body", "body": data, "more_body": more})

            try:
                await write(sse.frames([*output.opening(), *_chunks(output, first)]))
                async for batch in batches:
                    if data := sse.frames(_chunks(output, batch)) if batch else sse.PING:
                        await write(data)
            except Exception as error:
                _, body = told(error, scope)
                await write(b"data: " + body + b"\n\n", more=False)
            else:
                await write(sse.frames(output.closing()) + sse.DONE, more=False)


async def _first(batches: AsyncGenerator[list[Event], None]) -> list[Event]:
    """The first batch with anything in it: until then there is no status to send a ping under."""
    async for batch in batches:
        if batch:
            return batch
    return []


def _chunks(output: Format, batch: list[Event]) -> list[Struct]:
    return [chunk for event in coalesce(batch) if (chunk := output.chunk(event)) is not None]


def _extra_headers(opened: Opened) -> Headers:
    names = ", ".join(quote(name, safe="[].") for name in opened.ignored)  # a client chose them: no line breaks here
    return [(b"x-ignored-params", names.encode())] if names else []


def _start(headers: Headers) -> HTTPResponseStartEvent:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}
