"""Events in the batches they came in: one for each step of a request, or for what had gathered before it was read.

`Engine.generate` gives single events, and is all that an engine has to write. One that has batches offers them as
`GeneratesBatches` too; the runner's host and the server ask every engine for batches, through `batches`.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from .backend import Engine
from .specs.events import Event
from .specs.request import GenerateRequest

Batches = AsyncGenerator[Sequence[Event], None]


@runtime_checkable
class GeneratesBatches(Protocol):
    """Optional for an `Engine`."""

    def generate_batches(self, request: GenerateRequest) -> Batches:
        """`Engine.generate`, what was there at once in one piece, never empty. Whoever is given a batch owns its
        events."""


def batches(engine: Engine, request: GenerateRequest) -> Batches:
    """What `engine` answers, in batches: its own, or of one event each."""
    if isinstance(engine, GeneratesBatches):
        return engine.generate_batches(request)
    return one_by_one(engine.generate(request))


async def one_by_one(events: AsyncGenerator[Event, None]) -> Batches:
    """Each event is a batch. Closing this closes `events`."""
    async with aclosing(events):
        async for event in events:
            yield (event,)


async def flat(batches: Batches) -> AsyncGenerator[Event, None]:
    """The single events of `batches`. Closing this closes them."""
    async with aclosing(batches):
        async for batch in batches:
            for event in batch:
                yield event
