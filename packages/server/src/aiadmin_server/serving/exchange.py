"""One call with an engine, from the lease to the last event: everything that asks an engine goes through `exchange`.

Events come in the batches that the engine gave. The chain of generators, innermost first: the engine's; those of
plugins that observe (`observers`), the first loaded innermost; `checked`, which raises what failed and what is
missing. Closing the outermost closes them all.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec.structs import replace

from aiadmin_core.backend import Engine
from aiadmin_core.batches import Batches, batches
from aiadmin_core.errors import AiAdminError, PluginError
from aiadmin_core.observe import Exchange
from aiadmin_core.runner.failures import restore
from aiadmin_core.specs.events import Event, Failed, Finished
from aiadmin_core.specs.request import GenerateRequest, Request, TokenizeRequest

from ..http.record import Record
from ..routing.affinity import beginnings
from ..routing.entry import Lease
from ..routing.fallbacks import falls_back_on
from .call import Call, Caller, n_choices
from .left_out import LeftOut
from .naming import naming
from .observers import Observers
from .ports import RouterPort
from .settle import owned, settle
from .tokens import tokenizing
from .vectors import reading

Measured = Callable[[Sequence[Event]], None]
"""Is given every batch of one request as it leaves."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An engine at work on a call."""

    lease: Lease
    batches: Batches
    """The events of all its requests, choices numbered through. Read by one task at a time."""
    ignored: tuple[str, ...]
    """Fields that were dropped."""


@dataclass(kw_only=True)
class Exchanges:
    """What is needed to carry calls out. One per app."""

    router: RouterPort
    observers: Observers
    measure: Callable[[Exchange, Record], Measured]
    ignore_unknown_fields: bool = True
    left_out: LeftOut = field(default_factory=LeftOut)
    knows_callers: bool = False
    """Whether a plugin says who is calling: nobody then learns of others' prompts, or goes ahead of them."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def open(self, call: Call, caller: Caller) -> AsyncIterator[Opened]:
        """Lease the model and start `call`; leaving closes the events and gives the lease back. Where the name
        falls back on others, the next one is asked as long as nothing of an answer has come.

        Raises what the request cannot have, by the caller's names.
        """
        caller.record.asked = call.model
        failures: tuple[AiAdminError, ...] = ()
        while True:
            async with AsyncExitStack() as stack:
                opened = await self._opened(call, caller, stack, failures)
                if opened.lease.falls_back:
                    try:
                        opened = await _begun(opened, stack)
                    except AiAdminError as error:
                        if not falls_back_on(error):
                            raise
                        failures = (*opened.lease.failures, error)
                        continue
                yield opened
                return

    async def _opened(
        self, call: Call, caller: Caller, stack: AsyncExitStack, failures: tuple[AiAdminError, ...]
    ) -> Opened:
        """`call` with an engine, until `stack` is closed."""
        names = {**caller.names, **call.names}
        with naming(names):
            leasing = self.router.lease(
                call.model,
                keep_alive_s=call.keep_alive_s,
                options=call.load,
                lora=call.lora,
                n_requests=len(call.requests),
                asked_by=caller.identity or "",
                begins=partial(beginnings, call.requests),
                failures=failures,
            )
            lease = await stack.enter_async_context(leasing)
        caller.record.leased(lease.resolved)
        requests, ignored = settle(
            call,
            lease.engine.capabilities,
            defaults=lease.defaults,
            system=lease.system,
            stop=lease.stop,
            adapters=lease.adapters,
            ignore_unknown=self.ignore_unknown_fields,
            names=names,
        )
        self.left_out.note(caller.endpoint, ignored)
        if self.knows_callers:
            able = lease.engine.capabilities
            requests = tuple(owned(request, caller.identity, able) for request in requests)
        streams: list[Batches] = []
        for request in requests:
            exchange = Exchange(
                model=call.model,
                resolved=lease.resolved,
                backend=lease.backend,
                endpoint=caller.endpoint,
                identity=caller.identity,
                request=replace(request, id=next(self._ids)),
            )
            observed = self.observers.wrap(exchange, _asked(lease.engine, exchange.request))
            measure = self.measure(exchange, caller.record)
            streams.append(checked(exchange, observed, measure, names, begun=lease.begun))
        merged = streams[0] if len(streams) == 1 else merge(streams, call.n_choices // max(1, len(streams)))
        await stack.enter_async_context(aclosing(merged))
        return Opened(lease=lease, batches=merged, ignored=ignored)


async def _begun(opened: Opened, stack: AsyncExitStack) -> Opened:
    """`opened`, once its first batch has come. Raises what came instead."""
    first = await anext(opened.batches, None)

    async def batches() -> Batches:
        if first is not None:
            yield first
            async for batch in opened.batches:
                yield batch

    whole = batches()
    await stack.enter_async_context(aclosing(whole))
    return dataclasses.replace(opened, batches=whole)


def _asked(engine: Engine, request: Request) -> Batches:
    match request:
        case GenerateRequest():
            return batches(engine, request)
        case TokenizeRequest():
            return tokenizing(engine, request)
        case _:
            return reading(engine, request)


async def checked(
    exchange: Exchange, batches: Batches, measure: Measured, names: Mapping[str, str], *, begun: Callable[[], None]
) -> Batches:
    """`batches`, with `Failed` raised after what came before it, and an end before every choice has finished raised as
    well. `begun` is called with the first event that is none."""
    n_finished = 0
    is_first = True
    own = exchange.request.extra if isinstance(exchange.request, GenerateRequest) else ()
    try:
        with naming(names, own=own):
            async with aclosing(batches):
                async for batch in batches:
                    measure(batch)
                    for index, event in enumerate(batch):
                        if isinstance(event, Finished):
                            n_finished += 1
                        elif isinstance(event, Failed):
                            if index:
                                yield batch[:index]
                            raise restore(event)
                        if is_first:
                            is_first = False
                            begun()
                    yield batch
    except asyncio.CancelledError as error:
        raise told_from_within(error) from None
    if n_finished < n_choices(exchange.request):
        raise PluginError("The engine ended its stream before it had finished the answer.")


def told_from_within(error: BaseException) -> BaseException:
    """`error`; or, for a cancellation that nobody has asked the current task for, what it is: an engine's or plugin's
    mistake, which must be told like any other."""
    this = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and this is not None and not this.cancelling():
        return PluginError("The engine's stream was cancelled from within.")
    return error


async def merge(streams: Sequence[Batches], n: int) -> Batches:
    """The batches of several requests of `n` choices each as they come, choices numbered through in order.

    The first failure ends all of them. Without requests there are no events: a model was to be loaded, nothing more.
    """
    if not streams:
        return
    queue: asyncio.Queue[Sequence[Event] | BaseException | None] = asyncio.Queue(maxsize=len(streams))

    async def read(stream: Batches, offset: int) -> None:
        try:
            async with aclosing(stream):
                async for batch in stream:
                    await queue.put([renumbered(event, offset) for event in batch])
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = {asyncio.create_task(read(stream, index * n)) for index, stream in enumerate(streams)}
    try:
        n_open = len(tasks)
        while n_open:
            found = await queue.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                n_open -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def renumbered(event: Event, offset: int) -> Event:
    """`event` with its choice, if it has one, moved by `offset`."""
    choice = getattr(event, "choice", None)
    return event if choice is None or not offset else replace(event, choice=choice + offset)
