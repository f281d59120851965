"""Events in the batches they come in: what one step gave, or what had gathered before it was read.

`Engine.generate` gives single events, and is all that an engine has to write. An engine that has more at once may offer
it in one of two ways, and whoever wants batches asks any engine for them through `batches`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from .backend import Engine
from .specs.events import Event
from .specs.joining import joined
from .specs.request import GenerateRequest
from .streams import EventStream

Batches = AsyncGenerator[Sequence[Event], None]
Sink = Callable[[Sequence[Event]], None]
READ_AHEAD = 256
"""Single events taken of an engine before those there are have to be read."""


@runtime_checkable
class GeneratesBatches(Protocol):
    """Optional for an `Engine`: batches to be asked for."""

    def generate_batches(self, request: GenerateRequest) -> Batches:
        """`Engine.generate`, with what was there at once in one piece, never empty. Whoever is given a batch owns its
        events."""


@runtime_checkable
class GeneratesInto(Protocol):
    """Optional for an `Engine`: batches handed over as they leave the step, with no task between."""

    async def generate_into(self, request: GenerateRequest, sink: Sink) -> None:
        """Answer `request`; returns when it is answered, and raises what `Engine.generate` raises. Cancelling it is
        what closing the iterator is.

        `sink` is called on the event loop with what a step gave, of all requests together that have the same `sink`.
        It must not raise.
        """


def batches(engine: Engine, request: GenerateRequest) -> Batches:
    """What `engine` answers, in batches: its own, or what it gives before it has to wait. Closing it cancels the
    request."""
    if isinstance(engine, GeneratesBatches):
        return engine.generate_batches(request)
    if isinstance(engine, GeneratesInto):
        return handed_over(engine, request)
    return gathered(engine.generate(request))


async def handed_over(engine: GeneratesInto, request: GenerateRequest) -> Batches:
    """What `engine` hands over, for a reader that takes its time: the deltas of several steps are joined."""
    stream = EventStream()
    async with aclosing(_read(stream, engine.generate_into(request, stream.put))) as batches:
        async for batch in batches:
            yield joined(batch)


async def gathered(events: AsyncGenerator[Event, None]) -> Batches:
    """`events`, what comes without waiting in one piece. Closing this closes them; a reader that does not read holds
    them back."""
    stream = EventStream()

    async def gather() -> None:
        n = 0
        async with aclosing(events):
            async for event in events:
                stream.put((event,))
                n += 1
                if n % READ_AHEAD == 0:
                    await stream.taken()

    async with aclosing(_read(stream, gather())) as batches:
        async for batch in batches:
            yield batch


async def _read(stream: EventStream, filling: Coroutine[None, None, None]) -> Batches:
    """What `filling` puts into `stream`, then what it raises."""
    task = asyncio.ensure_future(filling)
    task.add_done_callback(lambda _: stream.end())
    try:
        while batch := await stream.get():
            yield batch
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # raised above, or nobody reads any more


async def flat(batches: Batches) -> AsyncGenerator[Event, None]:
    """The single events of `batches`. Closing this closes them."""
    async with aclosing(batches):
        async for batch in batches:
            for event in batch:
                yield event
