"""The server's end of a runner: an `Engine` like any other, over a connection. Made by the server's `runners`."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import force_setattr, replace

from ..errors import AiAdminError, BadRequest, ModelLoadFailed, RunnerDied
from ..specs.content import Message
from ..specs.events import Event, Failed
from ..specs.model import EngineStats
from ..specs.request import GenerateRequest
from . import calls, failures, frames
from .messages import (
    PROTOCOL_VERSION,
    Answer,
    Call,
    Cancel,
    Closed,
    Events,
    Generate,
    Heartbeat,
    Hello,
    LoadFailed,
    Reply,
    Shutdown,
)
from .streams import EventStream
from .transport import Connection

Result = TypeVar("Result")

_ids = itertools.count(1)
"""Request and call ids, unique in this process."""


async def _connection_ended(reason: str) -> AiAdminError:
    return RunnerDied(f"The connection to the runner ended{reason}.", hint="Send the request again.")


async def greet(connection: Connection[Reply]) -> Hello:
    """Wait until the runner's model is loaded.

    Raises what opening it raised, `ModelLoadFailed` for a runner of another version, and `EOFError` when the
    connection ends without a word.
    """
    try:
        first = await connection.receive()
    except frames.FrameError as error:
        raise _mismatch(str(error)) from None
    if first is None:
        raise EOFError
    if isinstance(first, LoadFailed):
        raise failures.restore_fields(
            message=first.message, code=first.code, status=first.status, hint=first.hint
        ) from None
    if not isinstance(first, Hello):
        raise _mismatch(f"it began with {type(first).__name__}")
    if first.version != PROTOCOL_VERSION:
        raise _mismatch(f"it speaks version {first.version} of the runner protocol, this server {PROTOCOL_VERSION}")
    return first


def _mismatch(what: str) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"The runner does not speak this server's protocol: {what}.",
        hint="Install aiadmin-core, aiadmin-server and the backends in one version.",
    )


class RemoteEngine:
    """An engine in another process. Used from one event loop."""

    def __init__(
        self,
        connection: Connection[Reply],
        hello: Hello,
        *,
        explain: Callable[[str], Awaitable[AiAdminError]] = _connection_ended,
        on_heartbeat: Callable[[EngineStats], None] = lambda _: None,
    ) -> None:
        """`explain` is awaited when the connection has ended, with what is known of the reason (" because ..." or
        ""): its error is what open and later requests get."""
        self.hello = hello
        self.capabilities = hello.capabilities
        self.facts = hello.facts
        self.ended = False
        """The connection has ended: nothing can be asked any more, though it may not be known yet why."""
        self._connection = connection
        self._explain = explain
        self._on_heartbeat = on_heartbeat
        self._stats = EngineStats()
        self._streams: dict[int, EventStream] = {}
        self._calls: dict[int, asyncio.Future[Answer]] = {}
        self._failure: Failed | None = None
        """Why nothing can be asked any more."""
        self._receiving = asyncio.get_running_loop().create_task(self._receive())

    @property
    def n_open(self) -> int:
        """Requests and calls the runner has not finished."""
        return len(self._streams) + len(self._calls)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """Answer `request`; closing the generator tells the runner, which frees the request's place."""
        request_id = next(_ids)
        self._send(Generate(replace(request, id=request_id)))
        stream = self._streams[request_id] = EventStream()
        begun = False
        try:
            while (event := await stream.get()) is not None:
                if isinstance(event, Failed) and event.choice is None and not begun:
                    raise failures.restore(event)
                force_setattr(event, "request_id", request.id)  # the caller's own; nobody else has seen the event
                begun = True
                yield event
        finally:
            del self._streams[request_id]
            if not stream.ended:
                self._connection.send(Cancel(request_id))

    def stats(self) -> EngineStats:
        """As the last heartbeat brought them: some seconds old."""
        return self._stats

    async def tokenize(self, input: str | tuple[Message, ...], *, special: bool = False) -> list[int]:
        """The tokens of a text, or of a rendered conversation."""
        return await self._call("tokenize", list[int], input=input, special=special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`."""
        return await self._call("detokenize", str, tokens=tuple(tokens))

    async def embed(self, inputs: Sequence[str | tuple[int, ...]]) -> list[list[float]]:
        """One L2-normalised vector for each input."""
        return await self._call("embed", list[list[float]], inputs=tuple(inputs))

    async def score(self, query: str, documents: Sequence[str]) -> list[float]:
        """One relevance for each document."""
        return await self._call("score", list[float], query=query, documents=tuple(documents))

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Make the adapter in `path` available under `digest`."""
        await self._call("load_adapter", object, digest=digest, path=str(path))

    async def close(self) -> None:
        """Tell the runner to end, and wait until it has: whoever holds its process sees to it that it does."""
        self._connection.send(Shutdown())
        await asyncio.wait({self._receiving})

    def abort(self) -> None:
        """End the connection at once: open requests fail."""
        self._connection.abort()

    def _send(self, command: Generate | Call) -> None:
        if self._failure is not None:
            raise failures.restore(self._failure)
        try:
            self._connection.send(command)
        except frames.FrameTooLarge as error:
            raise BadRequest(f"The request is too large: {error}.", hint="Send less text, or smaller media.") from None
        except (OverflowError, RecursionError, UnicodeError) as error:  # msgpack has less room than JSON
            raise BadRequest(f"The request cannot be passed on: {error}.") from None

    async def _call(self, method: str, result: type[Result], **arguments: Any) -> Result:
        """`method`'s result, converted to the type `result`; cancelling the call cancels it in the runner."""
        calls.require(self.capabilities.protocols, method)
        call_id = next(_ids)
        self._send(Call(call_id=call_id, method=method, arguments=arguments))
        answered = self._calls[call_id] = asyncio.get_running_loop().create_future()
        try:
            answer = await answered
        finally:
            del self._calls[call_id]
            if answered.cancelled():
                self._connection.send(Cancel(call_id))
        if answer.error is not None:
            raise failures.restore_fields(
                message=answer.error, code=answer.code, status=answer.status, hint=answer.hint
            )
        return msgspec.convert(answer.result, result)

    async def _receive(self) -> None:
        reason = ""
        try:
            while (reply := await self._connection.receive()) is not None:
                self._take(reply)
        except frames.FrameError as error:
            reason = f" because {error}"
        self.ended = True
        self._connection.abort()
        failure = self._failure = failures.failed(0, await self._explain(reason))
        for stream in self._streams.values():
            stream.end(replace(failure))  # each its own: it gets its request's id
        for answered in self._calls.values():
            if not answered.done():
                answered.set_result(
                    Answer(
                        call_id=0,
                        error=failure.message,
                        code=failure.code,
                        status=failure.status,
                        hint=failure.hint,
                    )
                )

    def _take(self, reply: Reply) -> None:
        """Pass a reply on to whom it is for; one for a request that was closed meanwhile is nobody's."""
        if isinstance(reply, Events):
            for event in reply.events:
                stream = self._streams.get(event.request_id)
                if stream is not None:
                    stream.put(event)
        elif isinstance(reply, Closed):
            stream = self._streams.get(reply.request_id)
            if stream is not None:
                stream.end()
        elif isinstance(reply, Answer):
            answered = self._calls.get(reply.call_id)
            if answered is not None and not answered.done():
                answered.set_result(reply)
        elif isinstance(reply, Heartbeat):
            self._stats = reply.stats
            self._on_heartbeat(reply.stats)
