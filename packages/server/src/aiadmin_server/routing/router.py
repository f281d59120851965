"""From a name in a request to a lease on an engine. Made once by the app; used from its event loop.

What the name stands for is the resolver's to say, what is loaded the fleet's; here a request waits for its model, and
holds it until it is answered.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiadmin_core.errors import AiAdminError, ModelNotFound, Overloaded
from aiadmin_core.memory import Memory, machine_memory
from aiadmin_core.plugins import Plugins
from aiadmin_core.specs.model import EngineOptions

from ..runners.supervisor import Opener, Supervisor
from ..settings import Settings
from . import reasons
from .backoff import Backoff
from .choice import choose_backend, engine_key, with_options
from .entry import Clock, Entry, Lease, LoadedModel
from .fleet import Fleet
from .reasons import Departure
from .scheduler import Limits
from .target import Target


class Router:
    """Leases engines, loads models on first use and unloads them when they are no longer wanted."""

    def __init__(
        self,
        *,
        resolve: Callable[[str], Target],
        plugins: Plugins,
        settings: Settings,
        find: Callable[[str], Target] | None = None,
        opener: Opener | None = None,
        clock: Clock | None = None,
        memory: Callable[[], Memory | None] = machine_memory,
        limits: Limits | None = None,
        backoff: Backoff = Backoff(),
    ) -> None:
        """`resolve` raises `InvalidName`, `ModelNotFound`, and `StoreError` for files that are not what they should
        be; `find` is the same without a look at the files. They read the disk, and are called on a worker thread.
        `limits` are the settings' where none are given.
        """
        self._resolve = resolve
        self._find = find or resolve
        self._settings = settings
        self._offers = plugins.offers()
        self._broken = plugins.broken
        self._clock = clock or Clock()
        self.fleet = Fleet(
            offers=self._offers,
            opener=opener or Supervisor(settings, plugins),
            clock=self._clock,
            memory=memory,
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
        n_requests: int = 1,
        asked_by: str = "",
    ) -> AsyncGenerator[Lease, None]:
        """The engine for the model `name`, which stays loaded until the context is left.

        `keep_alive_s` sets how long it stays loaded after that, until another request sets it; None leaves it. What
        `options` has set replaces what name and settings say: a model opened in another way is another engine.
        `n_requests` is how many requests will be put to the engine, `asked_by` who asks, for the log.

        Raises what `resolve` raises, `NoBackend`, `Overloaded`, `ModelCrashing`, and what loading the model raises.
        """
        target = with_options(await self._resolved(name), options)
        backend = choose_backend(target, self._offers, self._broken)
        asked_at = self._clock.now()
        entry, waited = await self._ready(target, backend, keep_alive_s, n_requests=n_requests, asked_by=asked_by)
        replica = entry.least_busy()
        assert replica is not None  # nothing was awaited since
        lease = Lease(
            engine=replica.running.engine,
            spec=target.spec,
            requested=target.requested,
            resolved=target.resolved,
            backend=entry.backend,
            load_s=self._clock.now() - asked_at if waited else 0.0,
            n_waiting=n_requests,
        )
        replica.leases.append(lease)
        entry.n_served += 1
        self.fleet.schedule()
        try:
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
            target = await asyncio.to_thread(self._find, name)
        except AiAdminError:
            entries = [entry for entry in self.fleet.entries() if entry.is_called(name)]
            if not entries:
                raise
            await self.refresh()
            entries = [entry for entry in entries if entry.reason is not None or entry.is_called(name)]
        else:
            entries = [entry for entry in self.fleet.entries() if entry.serves(target)]
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

    async def _resolved(self, name: str) -> Target:
        target = await asyncio.to_thread(self._resolve, name)
        await target.checked()
        return target

    async def _ready(
        self, target: Target, backend: str, keep_alive_s: float | None, *, n_requests: int, asked_by: str
    ) -> tuple[Entry, bool]:
        """The entry of `target`'s model, loaded and able to answer, and whether that had to be waited for."""
        key = engine_key(target, backend)
        waited = False
        while True:
            if self.fleet.closing:
                raise Overloaded("The server is shutting down.")
            entry = self.fleet.current(key) or self.fleet.admit(key, target, backend, asked_by)
            if entry.n_queued >= self._settings.max_queue:
                raise Overloaded(f"{entry.n_queued} requests are waiting for {target.resolved} already.")
            named_s = self._settings.keep_alive_s if target.keep_alive_s is None else target.keep_alive_s
            entry.called(target, named_s)
            if keep_alive_s is not None:
                entry.asked_keep_alive_s = keep_alive_s
            if entry.state == "ready" and entry.least_busy() is not None:
                return entry, waited
            waited = True
            await self._wait_for(entry, n_requests)

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
            return entry.serves(self._find(name))
        except ModelNotFound:
            return False
        except AiAdminError:  # it cannot be told: nothing is done about it
            return True
