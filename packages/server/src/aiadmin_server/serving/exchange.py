"""One call with an engine, from the lease to the last event: everything that asks an engine goes through `exchange`.

The chain of generators, innermost first: the engine's events; observers (`observers`), the first loaded innermost;
`_checked`, which raises what failed and what is missing. Closing the outermost closes them all.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from aiadmin_core.errors import PluginError
from aiadmin_core.observe import Exchange
from aiadmin_core.runner.failures import restore
from aiadmin_core.specs.events import Event, Failed, Finished

from ..routing.entry import Lease
from .call import Call, Caller
from .naming import naming
from .observers import Observers
from .ports import RouterPort
from .settle import owned, settle


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An engine at work on a call. `events` are those of all its requests, choices numbered through."""

    lease: Lease
    events: AsyncGenerator[Event, None]
    n_choices: int
    ignored: tuple[str, ...]
    """Fields that were dropped."""


@dataclass(kw_only=True)
class Exchanges:
    """What is needed to carry calls out. One per app."""

    router: RouterPort
    observers: Observers
    ignore_unknown_fields: bool = False
    knows_callers: bool = False
    """Whether a plugin says who is calling: nobody then learns of others' prompts, or goes ahead of them."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def open(
        self, call: Call, caller: Caller, *, on_leased: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator[Opened]:
        """Lease the model and start `call`; leaving closes the events and gives the lease back.

        `on_leased` is told the model behind the name. Raises what the request cannot have, by the caller's names.
        """
        names = {**caller.names, **call.names}
        async with AsyncExitStack() as stack:
            with naming(names):
                leasing = self.router.lease(
                    call.model,
                    keep_alive_s=call.keep_alive_s,
                    n_requests=len(call.requests),
                    asked_by=caller.identity or "",
                )
                lease = await stack.enter_async_context(leasing)
            on_leased(lease.resolved)
            requests, ignored = settle(
                call,
                lease.engine.capabilities,
                defaults=lease.spec.parameters,
                ignore_unknown=self.ignore_unknown_fields,
                names=names,
            )
            if self.knows_callers:
                able = lease.engine.capabilities
                requests = tuple(owned(request, caller.identity, able) for request in requests)
            streams: list[AsyncGenerator[Event, None]] = []
            for request in requests:
                exchange = Exchange(
                    model=call.model,
                    resolved=lease.resolved,
                    backend=lease.backend,
                    endpoint=caller.endpoint,
                    identity=caller.identity,
                    request=replace(request, id=next(self._ids)),
                )
                events = self.observers.wrap(exchange, lease.engine.generate(exchange.request))
                streams.append(
                    _checked(events, exchange.request.n, names, own=exchange.request.extra, begun=lease.begun)
                )
            n_choices = sum(request.n for request in requests)
            events = streams[0] if len(streams) == 1 else merge(streams, n_choices // max(1, len(streams)))
            await stack.enter_async_context(aclosing(events))
            yield Opened(lease=lease, events=events, n_choices=n_choices, ignored=ignored)


async def _checked(
    events: AsyncGenerator[Event, None],
    n: int,
    names: Mapping[str, str],
    *,
    own: Mapping[str, Any],
    begun: Callable[[], None],
) -> AsyncGenerator[Event, None]:
    """`events`, with `Failed` raised, and an end before every choice has finished raised as well. `begun` is called
    with the first one."""
    n_finished = 0
    is_first = True
    with naming(names, own=own):
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Failed):
                    raise restore(event)
                if is_first:
                    is_first = False
                    begun()
                n_finished += isinstance(event, Finished)
                yield event
    if n_finished < n:
        raise PluginError("The engine ended its stream before it had finished the answer.")


async def merge(streams: Sequence[AsyncGenerator[Event, None]], n: int) -> AsyncGenerator[Event, None]:
    """The events of several requests of `n` choices each as they come, choices numbered through in order.

    The first failure ends all of them. Without requests there are no events: a model was to be loaded, nothing more.
    """
    if not streams:
        return
    queue: asyncio.Queue[Event | BaseException | None] = asyncio.Queue(maxsize=len(streams))

    async def read(stream: AsyncGenerator[Event, None], offset: int) -> None:
        try:
            async with aclosing(stream):
                async for event in stream:
                    await queue.put(renumbered(event, offset))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = {asyncio.create_task(read(stream, index * n)) for index, stream in enumerate(streams)}
    try:
        n_open = len(tasks)
        while n_open:
            event = await queue.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                n_open -= 1
            else:
                yield event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def renumbered(event: Event, offset: int) -> Event:
    """`event` with its choice, if it has one, moved by `offset`."""
    choice = getattr(event, "choice", None)
    return event if choice is None or not offset else replace(event, choice=choice + offset)
