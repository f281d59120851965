"""From a name in a request to a lease on an engine. Made once by the app; used from its event loop.

What the name stands for is the resolver's to say, what is loaded the fleet's; here a request waits for its model, and
holds it until it is answered.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiadmin_core.errors import AiAdminError, ModelNotFound, Overloaded
from aiadmin_core.memory import Memory, machine_memory, within
from aiadmin_core.plugins import Plugins
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import NamedAdapter

from ..runners.supervisor import Opener, Supervisor
from ..settings import Settings
from . import reasons
from .adapters import LoadedFrom
from .affinity import Beginning
from .backoff import Backoff
from .choice import choose_backend, engine_key, with_options
from .entry import Clock, Entry, Lease, LoadedModel
from .fallbacks import FALLS_BACK, Fallback, Fallbacks, failed_with, reason_of
from .fleet import Fleet
from .reasons import Departure
from .scheduler import Limits
from .target import NothingLeft, Target

Resolve = Callable[[str, int], Target]
"""From a name, and how many of what it stands for have been tried in vain, to the next. Raises why that cannot be had,
and `NothingLeft`."""


@dataclass(frozen=True)
class _Ask:
    """What a lease was asked for with."""

    name: str
    keep_alive_s: float | None
    options: EngineOptions | None
    n_requests: int
    by: str
    failures: tuple[AiAdminError, ...]
    """Of what was asked before."""


@dataclass(frozen=True)
class _Served:
    """What a lease is made of."""

    target: Target
    entry: Entry
    waited: bool
    """Whether the model had to be waited for."""
    failures: tuple[AiAdminError, ...]
    """Why it is a fallback; () where it is what the name stands for."""


class Router:
    """Leases engines, loads models on first use and unloads them when they are no longer wanted."""

    def __init__(
        self,
        *,
        resolve: Resolve,
        plugins: Plugins,
        settings: Settings,
        find: Callable[[str], Sequence[Target]] | None = None,
        adapters: Callable[[Sequence[NamedAdapter]], tuple[LoadedFrom, ...]] = lambda _: (),
        opener: Opener | None = None,
        clock: Clock | None = None,
        memory: Callable[[], Memory | None] | None = None,
        limits: Limits | None = None,
        backoff: Backoff = Backoff(),
    ) -> None:
        """`resolve`, `find` and `adapters` are the resolver's; they read the disk, and are called on a worker thread.
        Without `find`, a name stands for one model. `memory` and `limits` are the machine's and the settings' where
        none are given.
        """
        self._resolve = resolve
        self._find = find or (lambda name: [resolve(name, 0)])
        self._adapters = adapters
        self._fallbacks = Fallbacks()
        self._settings = settings
        self._offers = plugins.offers()
        self._broken = plugins.broken
        self._clock = clock or Clock()
        self.fleet = Fleet(
            offers=self._offers,
            opener=opener or Supervisor(settings, plugins),
            clock=self._clock,
            memory=memory or (lambda: within(machine_memory(), settings.memory_mib << 20)),
            limits=limits or Limits(max_loaded=settings.max_loaded),
            backoff=backoff,
            refresh=self.refresh,
        )

    @asynccontextmanager
    async def lease(
        self,
        name: str,
        keep_alive_s: float | None = None,
        *,
        options: EngineOptions | None = None,
        lora: Sequence[NamedAdapter] | None = None,
        n_requests: int = 1,
        asked_by: str = "",
        begins: Callable[[], Sequence[Beginning]] = tuple,
        failures: tuple[AiAdminError, ...] = (),
    ) -> AsyncGenerator[Lease, None]:
        """The engine for the model `name`, which stays loaded until the context is left.

        `keep_alive_s` sets how long it stays loaded after that, until another request sets it; None leaves it. What
        `options` has set replaces what name and settings say: a model opened in another way is another engine. `lora`
        takes the place of the name's own adapters.
        `n_requests` is how many requests will be put to the engine, `asked_by` who asks, for the log; `begins` tells
        how the prompt begins, and is called where several engines could read it. `failures`: why what was leased before
        for this name did not answer: what comes after it is leased.

        Raises what `resolve` raises, `NoBackend`, `Overloaded`, `ModelCrashing`, and what loading the model raises.
        """
        ask = _Ask(name, keep_alive_s, options, n_requests, asked_by, failures)
        named = None if lora is None else await asyncio.to_thread(self._adapters, lora)
        asked_at = self._clock.now()
        served = await self._served(ask)
        target, entry = served.target, served.entry
        self.fleet.complete(entry)
        replica = entry.replica_for(begins)
        adapters = target.adapters if named is None else named
        lease = Lease(
            engine=replica.running.engine,
            spec=target.spec,
            requested=target.requested,
            resolved=target.resolved,
            backend=entry.backend,
            load_s=self._clock.now() - asked_at if served.waited else 0.0,
            defaults=target.defaults,
            system=target.system,
            stop=target.stop,
            adapters=tuple(one.adapter for one in adapters),
            fell_back=reason_of(served.failures),
            falls_back=target.falls_back,
            failures=served.failures,
            n_waiting=n_requests,
        )
        replica.leases.append(lease)
        entry.n_served += 1
        self.fleet.schedule()
        try:
            await replica.load(adapters)
            yield lease
        finally:
            replica.leases.remove(lease)
            entry.last_used_at = self._clock.now()
            self.fleet.schedule()

    def loaded(self) -> list[LoadedModel]:
        """What is loaded, or on its way in or out."""
        return self.fleet.loaded()

    def departed(self) -> Sequence[Departure]:
        """The last models that went, and why, the latest first."""
        return self.fleet.departed()

    def fallbacks(self) -> Sequence[Fallback]:
        """The last names that were answered by another model than they stand for, and why, the latest first."""
        return self._fallbacks.latest()

    def deaths(self) -> Mapping[str, int]:
        """How many runners ended without being asked to, by the name of their model."""
        return self.fleet.deaths()

    def health(self) -> list[str]:
        """What is wrong, one sentence each."""
        return self.fleet.health()

    async def close(self) -> None:
        """End every runner, within seconds; requests that are still open fail."""
        await self.fleet.close()

    async def unload(self, name: str) -> bool:
        """Unload the model `name` when it has answered the requests it has, or has had the time to; False where it is
        not loaded. A name that was removed takes its model along where no other name is left.

        Raises `ModelNotFound` where there is no model of this name, loaded or not.
        """
        try:
            targets = await asyncio.to_thread(self._find, name)
        except AiAdminError:
            entries = [entry for entry in self.fleet.entries() if entry.is_called(name)]
            if not entries:
                raise
            await self.refresh()
            entries = [entry for entry in entries if entry.reason is not None or entry.is_called(name)]
        else:
            meant, *others = targets
            entries = [
                entry
                for entry in self.fleet.entries()
                if entry.serves(meant) or (entry.is_called(name) and any(map(entry.serves, others)))
            ]
        for entry in entries:
            self.fleet.let_go(entry, reasons.stopped(name))
        for entry in entries:
            await entry.gone.wait()
        return bool(entries)

    async def refresh(self) -> None:
        """Look again whether the names of what is loaded still stand for it: models may have been removed, or pulled
        anew. What no name is left of is unloaded."""
        pairs = [(entry, name) for entry in self.fleet.entries() for name in entry.names]
        serves = await asyncio.to_thread(lambda: [self._serves(entry, name) for entry, name in pairs])
        gone: dict[Entry, list[str]] = {}
        for (entry, name), still in zip(pairs, serves, strict=True):
            if not still:
                gone.setdefault(entry, []).append(name)
        for entry, names in gone.items():
            if set(entry.names) <= set(names) and entry.reason is None:
                self.fleet.let_go(entry, reasons.removed(", ".join(f"'{name}'" for name in names)))
            elif entry.reason is None:
                for name in names:
                    entry.forget(name)

    # Requests.

    async def _served(self, ask: "_Ask") -> "_Served":
        """What the name stands for, able to answer; the first of its fallbacks that is, where that cannot be had.
        Raises why the first cannot."""
        failures = list(ask.failures)
        while True:
            try:
                target = await self._resolved(ask, passed=len(failures))
                because = reason_of(failures)
                entry, waited = await self._ready(target, ask, because)
            except NothingLeft:
                raise failed_with(failures) from None
            except FALLS_BACK as error:
                failures.append(error)
            else:
                if because:
                    name, now = target.requested, self._clock.unix_time()
                    self._fallbacks.taken(Fallback(name=name, model=target.resolved, at=now, reason=because))
                return _Served(target, entry, waited, tuple(failures))

    async def _resolved(self, ask: "_Ask", *, passed: int) -> Target:
        target = await asyncio.to_thread(self._resolve, ask.name, passed)
        await target.checked()
        return with_options(target, ask.options)

    async def _ready(self, target: Target, ask: "_Ask", because: str) -> tuple[Entry, bool]:
        """The entry of `target`'s model, loaded and able to answer, and whether that had to be waited for. `because`
        is why this model is asked for, where another one was meant."""
        backend = choose_backend(target, self._offers, self._broken)
        key = engine_key(target, backend)
        asker = reasons.asker(target.requested, ask.by, because)
        waited = False
        while True:
            if self.fleet.closing:
                raise Overloaded("The server is shutting down.")
            entry = self.fleet.current(key) or self.fleet.admit(key, target, backend, asker)
            if entry.n_queued >= self._settings.max_queue:
                raise Overloaded(f"{entry.n_queued} requests are waiting for {target.resolved} already.")
            named_s = self._settings.keep_alive_s if target.keep_alive_s is None else target.keep_alive_s
            entry.called(target, named_s)
            if ask.keep_alive_s is not None:
                entry.asked_keep_alive_s = ask.keep_alive_s
            if entry.state == "ready" and entry.is_usable:
                return entry, waited
            waited = True
            await self._wait_for(entry, ask.n_requests)

    async def _wait_for(self, entry: Entry, n_requests: int) -> None:
        """Until `entry` is loaded, or gone where it is dying. Raises why it cannot be loaded. Who leaves does not stop
        the load for the others."""
        entry.waiting.append(n_requests)
        self.fleet.schedule()
        try:
            if entry.state == "ready":
                await entry.gone.wait()
            else:
                await asyncio.shield(entry.loaded)
        except BaseException:
            entry.waiting.remove(n_requests)
            entry.last_used_at = self._clock.now()
            self.fleet.schedule()
            raise
        entry.waiting.remove(n_requests)  # and nothing is scheduled before it has its lease: it would look idle

    def _serves(self, entry: Entry, name: str) -> bool:
        try:
            return any(map(entry.serves, self._find(name)))
        except ModelNotFound:
            return False
        except AiAdminError:  # it cannot be told: nothing is done about it
            return True
