"""The response of every endpoint that asks an engine, whole or streamed.

Nothing is sent before the engine's first event, so that what fails until then has its own status and the API's error as
a JSON body; what fails later is the stream's last frame. A client that leaves at any moment ends the work.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Response
from litestar.types import Receive, Scope, Send

from aiadmin_core.specs.joining import joined

from ..http.connection import while_connected
from ..http.errors import ShuttingDown, told
from .call import Call, Caller
from .exchange import Opened
from .work import Service, Work
from .writer import Writer

IGNORED_BYTES = 1000
"""Of the header that names fields which were left out."""
Header = tuple[bytes, bytes]
MakeWriter = Callable[[Opened], Writer]


class Answer(Response[None]):
    """What a handler returns: the work is done while the response is sent."""

    def __init__(self, service: Service, call: Call, make_writer: MakeWriter, *, stream: bool) -> None:
        super().__init__(None)
        self._service = service
        self._call = call
        self._make_writer = make_writer
        self._stream = stream

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Litestar calls what is returned with scope, receive and send."""
        return self._respond

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(scope)
        work = self._service.start(self._call, caller)
        sending = Sending(work, self._make_writer, scope, send)
        try:
            whole_or_stream = sending.stream(ping_s=self._service.ping_s) if self._stream else sending.whole()
            if not await while_connected(receive, whole_or_stream):
                self._service.on_disconnect(caller.endpoint)
        except asyncio.CancelledError:  # by the server, which ends: a client that leaves cancels less
            if not sending.may_say_more:
                raise
            await sending.fail(ShuttingDown())
        finally:
            scope["state"]["model"] = work.model
            await work.close()


def caller_of(scope: Scope) -> Caller:
    """Who asks over this connection."""
    state, path = scope["state"], scope["path"]
    return Caller(endpoint=path, identity=state.get("identity"), names=state["apis"].at(path).names)


class Sending:
    """One answer on its way out."""

    def __init__(self, work: Work, make_writer: MakeWriter, scope: Scope, send: Send) -> None:
        self._work = work
        self._make_writer = make_writer
        self._scope = scope
        self._send = send
        self._writer: Writer | None = None
        """Of a stream that has begun, until it has ended."""
        self._sending = asyncio.Lock()
        """Held while a part of the body is sent: pings come between parts."""
        self._sent_at = 0.0

    @property
    def may_say_more(self) -> bool:
        """Whether a stream has begun and not ended."""
        return self._writer is not None

    async def whole(self) -> None:
        opened = await self._work.opened()
        events = [event async for batch in opened.batches for event in batch]
        body = msgspec.json.encode(self._make_writer(opened).whole(joined(events)))
        length = (b"content-length", str(len(body)).encode())
        await self._start([(b"content-type", b"application/json"), length], opened)
        await self._body(body, more=False)

    async def stream(self, *, ping_s: float) -> None:
        opened = await self._work.opened()
        first = await anext(opened.batches, ())  # until then there is no status to send a ping under
        writer = self._make_writer(opened)
        await self._start(writer.headers, opened)
        self._writer = writer
        pinging = asyncio.create_task(self._ping(writer.ping, ping_s))
        try:
            await self._body(writer.opening() + writer.events(joined(first)))
            async for batch in opened.batches:
                if data := writer.events(joined(batch)):
                    await self._body(data)
        except Exception as error:
            await self.fail(error)
        else:
            self._writer = None
            await self._body(writer.closing(), more=False)
        finally:
            pinging.cancel()

    async def _ping(self, ping: bytes, ping_s: float) -> None:
        """Send `ping` whenever nothing else has been sent for so long, as long as the stream has not ended."""
        loop = asyncio.get_running_loop()
        while self._writer and ping:
            silent_s = loop.time() - self._sent_at
            if self._sending.locked() or silent_s < ping_s:
                await asyncio.sleep(ping_s - silent_s if silent_s < ping_s else ping_s)
            else:
                try:
                    await self._body(ping)
                except Exception:  # the next part meets the same, and is told of it
                    return

    async def fail(self, error: BaseException) -> None:
        """End a stream that has begun with an error."""
        assert self._writer
        writer, self._writer = self._writer, None
        await self._body(writer.failure(*told(error, self._scope)), more=False)

    async def _start(self, headers: Iterable[Header], opened: Opened) -> None:
        all_headers = [*headers, *_ignored(opened.ignored)]
        await self._send({"type": "http.response.start", "status": 200, "headers": all_headers})

    async def _body(self, data: bytes, *, more: bool = True) -> None:
        async with self._sending:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._sent_at = asyncio.get_running_loop().time()


def _ignored(fields: Iterable[str]) -> list[Header]:
    """Their names, as far as they fit. A client chose them: no line breaks here."""
    value = ""
    for name in fields:
        longer = f"{value}, {quote(name, safe='[].')}" if value else quote(name, safe="[].")
        if len(longer) > IGNORED_BYTES:
            value = f"{value}, ..." if value else "..."
            break
        value = longer
    return [(b"x-ignored-params", value.encode())] if value else []
