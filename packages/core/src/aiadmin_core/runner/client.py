"""The server's end of a runner: an `Engine` like any other, over a connection. Made by the server's `runners`."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import force_setattr, replace

from ..batches import Batches, flat
from ..errors import AiAdminError, BadRequest, ModelLoadFailed, RunnerDied
from ..specs.events import Event, Failed
from ..specs.model import EngineStats
from ..specs.request import GenerateRequest
from ..specs.vectors import Scores, Vectors
from ..streams import EventStream
from . import calls, failures, frames
from .messages import (
    PROTOCOL_VERSION,
    Cancel,
    Closed,
    Events,
    Generate,
    Heartbeat,
    Hello,
    Invoke,
    LoadFailed,
    Reply,
    Returned,
    Shutdown,
    UseThreads,
)
from .transport import Connection

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_ids = itertools.count(1)
"""Request and call ids, unique in this process."""


def _connection_ended(reason: str) -> AiAdminError:
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
        raise failures.restore_load(first) from None
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
        explain: Callable[[str], Awaitable[AiAdminError]] | None = None,
        on_heartbeat: Callable[[EngineStats], None] = lambda _: None,
        on_work: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`explain` is awaited when the connection has ended, with what is known of the reason (" because ..." or
        ""): its error is what open and later requests get. What either callback raises is logged; no request waits
        for it in vain. `on_work` is told when there is something to generate, and when there is nothing any more."""
        self.hello = hello
        self.capabilities = hello.capabilities
        self.facts = hello.facts
        self.ended = False
        """The connection has ended: nothing can be asked any more, though it may not be known yet why."""
        self._connection = connection
        self._explain = explain
        self._on_heartbeat = on_heartbeat
        self._on_work = on_work
        self._stats = EngineStats()
        self._streams: dict[int, EventStream] = {}
        self._calls: dict[int, asyncio.Future[Returned]] = {}
        self._failure: Failed | None = None
        """Why nothing can be asked any more."""
        self._concluding: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        """The connection has ended, and every request knows why."""
        # Not at once: what waits already must not reach callbacks of whoever is just making this engine.
        asyncio.get_running_loop().call_soon(connection.hand_to, self._take, self._on_end)

    @property
    def n_open(self) -> int:
        """Requests and calls the runner has not finished."""
        return len(self._streams) + len(self._calls)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """Answer `request`; closing the generator tells the runner, which frees the request's place."""
        async with aclosing(flat(self.generate_batches(request))) as events:
            async for event in events:
                yield event

    async def generate_batches(self, request: GenerateRequest) -> Batches:
        """The same; see `batches.GeneratesBatches`."""
        request_id = next(_ids)
        self._send(Generate(replace(request, id=request_id)))
        stream = self._streams[request_id] = EventStream()
        if len(self._streams) == 1:
            self._on_work(True)
        begun = False
        try:
            while batch := await stream.get():
                first = batch[0]
                if not begun and isinstance(first, Failed) and first.choice is None:
                    raise failures.restore(first)
                begun = True
                for event in batch:
                    force_setattr(event, "request_id", request.id)  # nobody else has seen the event
                yield batch
        finally:
            del self._streams[request_id]
            if not self._streams:
                self._on_work(False)
            if not stream.ended:
                self._connection.send(Cancel(request_id))

    def stats(self) -> EngineStats:
        """As the last heartbeat brought them: some seconds old."""
        return self._stats

    async def tokenize(self, input: str | GenerateRequest, *, special: bool = False, around: bool = False) -> list[int]:
        """The tokens of a text, or of a request's prompt."""
        return await self._call("tokenize", list[int], input=input, special=special, around=around)

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes each of `tokens` stands for."""
        return await self._call("pieces", list[bytes], tokens=tuple(tokens))

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        """One L2-normalised vector for each input."""
        return await self._call("embed", Vectors, inputs=tuple(inputs), truncate=truncate)

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        """One relevance for each document."""
        return await self._call("score", Scores, query=query, documents=tuple(documents), truncate=truncate)

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Make the adapter in `path` available under `digest`."""
        await self._call("load_adapter", object, digest=digest, path=str(path))

    def use_threads(self, n_threads: int) -> None:
        """Compute with no more threads than that, where the engine can be told."""
        if "threads" in self.capabilities.protocols:
            self._connection.send(UseThreads(n_threads))

    async def close(self) -> None:
        """Tell the runner to end, and wait until it has: whoever holds its process sees to it that it does."""
        self._connection.send(Shutdown())
        await self._over.wait()

    def abort(self) -> None:
        """End the connection at once: open requests fail."""
        self._connection.abort()

    def _send(self, command: Generate | Invoke) -> None:
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
        self._send(Invoke(call_id=call_id, method=method, arguments=arguments))
        answered = self._calls[call_id] = asyncio.get_running_loop().create_future()
        try:
            returned = await answered
        finally:
            del self._calls[call_id]
            if answered.cancelled():
                self._connection.send(Cancel(call_id))
        if returned.failure is not None:
            raise failures.restore(returned.failure)
        return msgspec.convert(returned.result, result)

    def _take(self, reply: Reply) -> None:
        """Pass a reply on to whom it is for; one for a request that was closed meanwhile is nobody's."""
        match reply:
            case Events():
                for event in reply.events:
                    if (stream := self._streams.get(event.request_id)) is not None:
                        stream.put((event,))
            case Closed():
                if (stream := self._streams.get(reply.request_id)) is not None:
                    stream.end()
            case Returned():
                answered = self._calls.get(reply.call_id)
                if answered is not None and not answered.done():
                    answered.set_result(reply)
            case Heartbeat():
                self._stats = reply.stats
                try:
                    self._on_heartbeat(reply.stats)
                except Exception:  # whoever watches the runner: no business of its requests
                    logger.exception("a heartbeat of the runner could not be worked off")

    def _on_end(self, error: frames.FrameError | None) -> None:
        self.ended = True
        self._connection.abort()
        self._concluding = asyncio.get_running_loop().create_task(self._conclude(f" because {error}" if error else ""))

    async def _conclude(self, reason: str) -> None:
        """Find out why the connection has ended, and fail what is open with it: whatever happens here, nobody waits
        for events that will not come."""
        why = _connection_ended(reason)
        try:
            if self._explain is not None:
                why = await self._explain(reason)
        except Exception:
            logger.exception("the end of a runner could not be explained")
        finally:
            failure = self._failure = failures.failed(0, why)
            for stream in self._streams.values():
                stream.end(replace(failure))  # each its own: it gets its request's id
            for call_id, answered in self._calls.items():
                if not answered.done():
                    answered.set_result(Returned(call_id=call_id, failure=failure))
            self._over.set()
