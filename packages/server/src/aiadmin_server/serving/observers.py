"""The hook `aiadmin_observe`: one request's events wrapped by every observer, event by event. Used by `exchange`.

An observer that fails before it has given anything is named in the log and left out; the events it had taken are not
lost. What it raises later ends the request, for nobody knows what it meant to hide; so does whatever an observer
raises whose plugin guards (`aiadmin.guards`): it may be there to hide something.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from aiadmin_core.batches import Batches, flat, gathered
from aiadmin_core.errors import PluginError
from aiadmin_core.observe import Exchange
from aiadmin_core.plugins import HARM, Plugins
from aiadmin_core.specs.events import Event

LOG = logging.getLogger("aiadmin.server")

Events = AsyncGenerator[Event, None]
Observe = Callable[[Exchange, Events], Events | None]


class Observer(NamedTuple):
    """A plugin's hook, or our own."""

    name: str
    observe: Observe
    guards: bool = False
    """Whether a request may not go on without it."""


class Observers:
    """The observers of this server, first loaded first: the last is the outermost."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def wrap(self, exchange: Exchange, batches: Batches) -> Batches:
        """Closing what is returned closes `batches`, which are left as they are where nobody observes."""
        if not self._observers:
            return batches
        events = flat(batches)
        for observer in self._observers:
            events = _observed(observer, exchange, events)
        return gathered(events)


def plugin_observers(plugins: Plugins) -> list[Observer]:
    """The observers that plugins bring, each callable by itself so that one can fail alone."""
    manager = plugins.manager
    found: list[Observer] = []
    for plugin in plugins.installed:
        if plugin.error or "aiadmin_observe" not in plugin.hooks:
            continue
        others = [module for module in manager.get_plugins() if module is not plugin.module]
        caller = manager.subset_hook_caller("aiadmin_observe", others)

        def observe(exchange: Exchange, events: Events, caller: Callable[..., list[Events]] = caller) -> Events | None:
            wrapped = caller(exchange=exchange, events=events)
            return wrapped[0] if wrapped else None

        found.append(Observer(plugin.name, observe, plugin.guards))
    return found


async def _observed(observer: Observer, exchange: Exchange, events: Events) -> Events:
    """`events` through one observer. It is given a `tap` it may close: `events` itself is closed here."""
    taken: list[Event] = []
    failures: list[BaseException] = []
    has_given = False

    async def tap() -> Events:
        try:
            async for event in events:
                if not has_given:
                    taken.append(event)
                yield event
        except Exception as error:  # the engine's, on its way through the observer
            failures.append(error)
            raise

    async with aclosing(events):
        try:
            wrapped = observer.observe(exchange, tap())
            if wrapped is not None:
                async with aclosing(wrapped):
                    async for event in wrapped:
                        has_given = True
                        yield event
                return
        except HARM as error:
            if failures:
                raise
            if has_given or observer.guards:
                raise PluginError(f"The plugin '{observer.name}' failed while it observed this request.") from error
            LOG.exception("plugin '%s' is left out of this request: its aiadmin_observe failed", observer.name)
        for event in taken:
            yield event
        async for event in events:
            yield event
