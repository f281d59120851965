"""The response of every endpoint that asks an engine, whole or streamed.

Nothing is sent before the engine's first event, so that what fails until then has its own status and the API's error as
a JSON body. A stream whose first event takes long (the model is loaded, others are served first, the prompt is read)
begins without it, before its client or a proxy gives up; what fails from then on is its last frame. A client that
leaves at any moment ends the work.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from litestar import Response
from litestar.types import Receive, Scope, Send

from aiadmin_core.specs.events import Event, Started
from aiadmin_core.specs.joining import joined

from ..http.connection import while_connected
from ..http.errors import ShuttingDown, told
from ..http.record import Record
from ..routing.entry import Lease
from .call import Call, Caller
from .work import Patience, Service, Work
from .writer import Writer

IGNORED_BYTES = 1000
"""Of the header that names fields which were left out."""
REASON_BYTES = 300
"""Of the header that says why a fallback answers."""
Header = tuple[bytes, bytes]


class Answer(Response[None]):
    """What a handler returns: the work is done while the response is sent."""

    def __init__(self, service: Service, call: Call, writer: Writer, *, stream: bool) -> None:
        """`writer` is this answer's own."""
        super().__init__(None)
        self._service = service
        self._call = call
        self._writer = writer
        self._stream = stream

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Litestar calls what is returned with scope, receive and send."""
        return self._respond

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(scope)
        work = self._service.start(self._call, caller)
        sending = Sending(work, self._call, self._writer, scope, send)
        try:
            whole_or_stream = sending.stream(self._service.patience) if self._stream else sending.whole()
            if not await while_connected(receive, whole_or_stream):
                caller.record.has_left = True
                self._service.on_disconnect(caller.endpoint)
        except asyncio.CancelledError:  # by the server, which ends: a client that leaves cancels less
            if not sending.may_say_more:
                raise
            await sending.fail(ShuttingDown())
        finally:
            await work.close()


def caller_of(scope: Scope) -> Caller:
    """Who asks over this connection."""
    state, path = scope["state"], scope["path"]
    record: Record = state["record"]
    return Caller(endpoint=path, identity=record.who, names=state["apis"].at(path).names, record=record)


class Sending:
    """One answer on its way out."""

    def __init__(self, work: Work, call: Call, writer: Writer, scope: Scope, send: Send) -> None:
        self._work = work
        self._call = call
        self._writer = writer
        self._scope = scope
        self._send = send
        self._state: Literal["nothing", "streaming", "ended"] = "nothing"
        """What has been sent, or is just being sent."""
        self._sending = asyncio.Lock()
        """Held while a part of the body is sent: pings come between parts."""
        self._sent_at = 0.0

    @property
    def may_say_more(self) -> bool:
        """Whether a stream has begun and not ended."""
        return self._state == "streaming"

    async def whole(self) -> None:
        opened = await self._work.opened()
        events = [event async for batch in opened.batches for event in batch]
        self._writer.begin(opened)
        headers = [(b"content-type", b"application/json"), *_served(opened.lease), *self._adjusted(events)]
        body = msgspec.json.encode(self._writer.whole(joined(events)))
        length = (b"content-length", str(len(body)).encode())
        await self._start([*headers, length], opened.ignored)
        await self._body(body, more=False)

    async def stream(self, patience: Patience) -> None:
        breaking_silence = asyncio.create_task(self._break_silence(patience))
        try:
            opened = await self._work.opened()
            first = await anext(opened.batches, None) or ()  # CPython 3.11 fails over a default that is a tuple
            self._writer.begin(opened)
            await self._start_stream(opened.ignored, [*_served(opened.lease), *self._adjusted(first)])
            await self._body(self._writer.opening() + self._writer.events(joined(first)))
            async for batch in opened.batches:
                if data := self._writer.events(joined(batch)):
                    await self._body(data)
        except Exception as error:
            if self._state == "nothing":
                raise
            await self.fail(error)
        else:
            self._state = "ended"
            await self._body(self._writer.closing(), more=False)
        finally:
            breaking_silence.cancel()

    async def _break_silence(self, patience: Patience) -> None:
        """Begin a stream that has nothing to say yet, and send a ping whenever nothing else has been sent for long, as
        long as the stream has not ended."""
        loop = asyncio.get_running_loop()
        begins_at = loop.time() + patience.headers_s
        try:
            while self._state != "ended":
                due_at = begins_at if self._state == "nothing" else self._sent_at + patience.ping_s
                left_s = due_at - loop.time()
                if left_s > 0 or self._sending.locked():
                    await asyncio.sleep(min(left_s, patience.ping_s) if left_s > 0 else patience.ping_s)
                    continue
                await self._start_stream(self._call.unknown)  # what else is left out, only the engine can tell
                if not self._writer.ping:
                    return
                await self._body(self._writer.ping)  # at once: some wait for a body's first byte
        except Exception:  # whoever sends the next part meets the same, and is told of it
            return

    async def fail(self, error: BaseException) -> None:
        """End a stream that has begun with an error."""
        assert self.may_say_more
        self._state = "ended"
        await self._body(self._writer.failure(*told(error, self._scope)), more=False)

    def _adjusted(self, events: Iterable[Event]) -> list[Header]:
        """What had to be done to the request so that it fits: only the engine's first events tell."""
        started = [event for event in events if isinstance(event, Started)]
        headers: list[Header] = []
        limits = [event.max_tokens for event in started if event.max_tokens is not None]
        if limits and "max_tokens" in self._call.given:
            names = {**caller_of(self._scope).names, **self._call.names}
            headers.append((b"x-clamped", f"{names.get('max_tokens', 'max_tokens')}={min(limits)}".encode()))
        if n_dropped := max((event.n_dropped for event in started), default=0):
            headers.append((b"x-dropped-messages", str(n_dropped).encode()))
        return headers

    async def _start_stream(self, ignored: Iterable[str], adjusted: Iterable[Header] = ()) -> None:
        """Send the headers, if nobody has."""
        async with self._sending:
            if self._state == "nothing":
                self._state = "streaming"
                await self._start([*self._writer.headers, *adjusted], ignored)

    async def _start(self, headers: Iterable[Header], ignored: Iterable[str]) -> None:
        all_headers = [*headers, *_ignored(ignored)]
        await self._send({"type": "http.response.start", "status": 200, "headers": all_headers})

    async def _body(self, data: bytes, *, more: bool = True) -> None:
        async with self._sending:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._sent_at = asyncio.get_running_loop().time()


def _served(lease: Lease) -> list[Header]:
    """Which model answers, and why it is not the one that the name stands for."""
    headers = [(b"x-served-model", quote(lease.model, safe="/:@+").encode())]
    if lease.fell_back:
        reason = " ".join(lease.fell_back.split()).encode("ascii", "replace")
        headers.append((b"x-fallback-reason", reason[:REASON_BYTES]))
    return headers


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
