"""The one owner of what is loaded: names become leases on engines. Made once by the app; used from its event loop.

What loads, goes and is refused is decided by `scheduler`, from a description of what there is; this is what keeps that,
asks after every change, and carries out the answer. Nothing polls: loads, leases, runners that end or grow too large,
and one timer are all that changes anything, each between two awaits. `design.md` says what must never break.
"""

import asyncio
import itertools
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiadmin_core.backend import Backend, EstimatesMemory, MemoryEstimate
from aiadmin_core.errors import AiAdminError, ModelLoadFailed, ModelNotFound, Overloaded
from aiadmin_core.memory import Memory
from aiadmin_core.plugins import Plugins
from aiadmin_core.specs.model import EngineOptions

from ..runners import exits
from ..runners.memory import machine_memory
from ..runners.supervisor import Opener, Supervisor
from ..settings import Settings
from . import reasons, scheduler
from .backoff import Backoff, History
from .choice import choose_backend, engine_key, with_options
from .entry import Clock, Entry, Lease, LoadedModel, Replica, Timer
from .reasons import Departure, Reason
from .scheduler import Limits, Situation
from .target import Target

N_DEPARTURES = 16
"""Models that went, of which the reason is kept."""

logger = logging.getLogger(__name__)


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
        self._opener = opener or Supervisor(settings, plugins)
        self._clock = clock or Clock()
        self._memory = memory
        self._limits = limits or Limits(max_loaded=settings.max_loaded)
        self._ids = itertools.count(1)
        self._entries: dict[int, Entry] = {}
        """By id, in the order they were asked for, until they are gone."""
        self._current: dict[str, Entry] = {}
        """By key, those that take requests: a fresh one may stand beside others that are on their way out."""
        self._history = History(backoff)
        self._deaths: Counter[str] = Counter()
        self._departures: deque[Departure] = deque(maxlen=N_DEPARTURES)
        self._timer: Timer | None = None
        self._closing = False

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
        self._schedule()
        try:
            yield lease
        finally:
            replica.leases.remove(lease)
            entry.last_used_at = self._clock.now()
            self._schedule()

    def loaded(self) -> list[LoadedModel]:
        """What is loaded, or on its way in or out."""
        return [entry.view(self._clock) for entry in self._entries.values()]

    def departed(self) -> Sequence[Departure]:
        """The last models that went, and why, the latest first."""
        return tuple(reversed(self._departures))

    def deaths(self) -> Mapping[str, int]:
        """How many runners ended without being asked to, by the name of their model."""
        return self._deaths

    def health(self) -> list[str]:
        """What is wrong, one sentence each."""
        return [
            f"{entry.name} ({entry.backend}): {trouble}"
            for entry in self._entries.values()
            for replica in entry.replicas
            if (trouble := replica.running.trouble())
        ]

    async def unload(self, name: str) -> bool:
        """Unload the model `name` when it has answered the requests it has, or has had the time to; False where it is
        not loaded. A name that was removed takes its model along where no other name is left.

        Raises `ModelNotFound` where there is no model of this name, loaded or not.
        """
        try:
            target = await asyncio.to_thread(self._find, name)
        except AiAdminError:
            entries = [entry for entry in self._entries.values() if entry.is_called(name)]
            if not entries:
                raise
            await self.refresh()
            entries = [entry for entry in entries if entry.reason is not None or entry.is_called(name)]
        else:
            entries = [entry for entry in self._entries.values() if entry.serves(target)]
        for entry in entries:
            self._let_go(entry, reasons.stopped(name))
        for entry in entries:
            await entry.gone.wait()
        return bool(entries)

    async def refresh(self) -> None:
        """Look again whether the names of what is loaded still stand for it: models may have been removed, or pulled
        anew. What no name is left of is unloaded."""
        pairs = [(entry, name) for entry in self._entries.values() for name in entry.names]
        serves = await asyncio.to_thread(lambda: [self._serves(entry, name) for entry, name in pairs])
        gone: dict[Entry, list[str]] = {}
        for (entry, name), still in zip(pairs, serves, strict=True):
            if not still:
                gone.setdefault(entry, []).append(name)
        for entry, names in gone.items():
            if set(entry.names) <= set(names) and entry.reason is None:
                self._let_go(entry, reasons.removed(", ".join(f"'{name}'" for name in names)))
            elif entry.reason is None:
                for name in names:
                    entry.forget(name)

    async def close(self) -> None:
        """End every runner, within seconds; requests that are still open fail."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        entries = list(self._entries.values())
        for entry in entries:
            if entry.state in ("queued", "loading"):
                self._let_go(entry, reasons.SHUTDOWN)
            else:
                self.stop(entry.id, reasons.SHUTDOWN)
        await asyncio.gather(*(entry.work for entry in entries if entry.work is not None), return_exceptions=True)

    # Effects: what the scheduler decides is carried out at once.

    def load(self, id: int) -> None:
        """Let a queued entry be opened."""
        self._become(self._entries[id], "loading")
        self._entries[id].admitted.set()

    def drain(self, id: int, reason: Reason) -> None:
        """Give it no more requests."""
        entry = self._entries[id]
        self._retire(entry, reason)
        self._become(entry, "draining")

    def stop(self, id: int, reason: Reason) -> None:
        """End what runs of it."""
        entry = self._entries[id]
        if entry.state == "stopping":
            return
        self._retire(entry, reason)
        self._become(entry, "stopping")
        entry.work = asyncio.create_task(self._stop(entry))

    def refuse(self, id: int, error: AiAdminError) -> None:
        """Tell who waits for it, and forget it."""
        entry = self._entries[id]
        if not entry.loaded.done():
            entry.loaded.set_exception(error)
        self._remove(entry)
        if entry.work is not None:
            entry.work.cancel()

    def look_again(self, at: float) -> None:
        """Schedule once more at that time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at == scheduler.NEVER else self._clock.call_later(at - self._clock.now(), self._schedule)

    def _schedule(self) -> None:
        """Whatever may have become possible, or due, happens now."""
        if not self._closing:
            models = [entry.model() for entry in self._entries.values()]
            memory = self._memory() if any(model.state == "queued" for model in models) else None
            situation = Situation(models=models, memory=memory, limits=self._limits, now=self._clock.now())
            scheduler.schedule(situation, self)

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
            if self._closing:
                raise Overloaded("The server is shutting down.")
            entry = self._current.get(key) or self._admit(key, target, backend, asked_by)
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
        self._schedule()
        try:
            if entry.state == "ready":
                await entry.gone.wait()
            else:
                await asyncio.shield(entry.loaded)
        except BaseException:
            entry.waiting.remove(n_requests)
            entry.last_used_at = self._clock.now()
            self._schedule()
            raise
        entry.waiting.remove(n_requests)  # and nothing is scheduled before it has its lease: it would look idle

    def _admit(self, key: str, target: Target, backend: str, asked_by: str) -> Entry:
        """A new entry for `target`. Raises why it is not to be loaded just now."""
        now = self._clock.now()
        self._history.check(key, target.resolved, now)
        plugin, opened_by = self._offers[backend]
        entry = Entry(
            id=next(self._ids),
            key=key,
            target=target,
            plugin=plugin,
            backend=backend,
            takes_place=not getattr(opened_by, "in_process", False),
            asker=reasons.asker(target.requested, asked_by),
            since=now,
            last_used_at=now,
        )
        entry.loaded.add_done_callback(lambda loaded: loaded.exception())  # nobody may be waiting any more
        self._entries[entry.id] = self._current[key] = entry
        entry.work = asyncio.create_task(self._bring_up(entry))
        entry.work.add_done_callback(lambda _: self._give_up(entry))  # cancelled, perhaps before its first step
        return entry

    # Loading and unloading.

    async def _bring_up(self, entry: Entry) -> None:
        """Wait for a place, open the model, tell who waits. Cancelled by `_let_go` and `refuse`."""
        backend = self._offers[entry.backend][1]
        try:
            await self.refresh()  # what nobody can ask for any more makes room first
            entry.need = await asyncio.to_thread(_estimate, backend, entry)
            self._schedule()
            await entry.admitted.wait()
            begun = self._clock.now()
            running = await self._opener.open(entry.plugin, backend, entry.target.spec, entry.target.options)
        except AiAdminError as error:
            self._fail(entry, error)
        except Exception as error:
            logger.exception("Loading %s failed", entry.name)
            message = f"{entry.name} cannot be loaded: {type(error).__name__}."
            self._fail(entry, ModelLoadFailed(message, hint="The server's log has the traceback."))
        else:
            self._history.loaded(entry.key)
            replica = Replica(running)
            entry.replicas.append(replica)
            entry.load_s = self._clock.now() - begun
            entry.last_used_at = self._clock.now()
            entry.loaded_because = reasons.loaded(entry.asker, load_s=entry.load_s, n_bytes=entry.n_bytes())
            self._become(entry, "ready")
            logger.info("Loaded %s (%s): %s", entry.name, entry.backend, entry.loaded_because)
            entry.loaded.set_result(None)
            running.ended.add_done_callback(lambda _: self._on_ended(entry, replica))
            running.outgrown.add_done_callback(lambda _: self._schedule())
            self._schedule()

    def _let_go(self, entry: Entry, reason: Reason) -> None:
        """Unload it: at once while it is loading, when its requests are answered otherwise."""
        if entry.state in ("queued", "loading"):
            self._retire(entry, reason)
            self._become(entry, "stopping")
            assert entry.work is not None
            entry.work.cancel()
        elif entry.state == "ready":
            self.drain(entry.id, reason)
            self._schedule()

    async def _stop(self, entry: Entry) -> None:
        try:
            await asyncio.gather(*(replica.running.stop() for replica in entry.replicas))
        finally:
            self._remove(entry)
            self._schedule()

    def _on_ended(self, entry: Entry, replica: Replica) -> None:
        """A runner has ended, asked to or not: the next request has the model loaded afresh."""
        entry.replicas.remove(replica)
        if entry.state in ("ready", "draining") and not self._closing:
            self._deaths[entry.name] += 1
            self._history.died(entry.key, self._clock.now())
            if not entry.replicas:
                entry.reason = reasons.died(exits.how_it_ended(replica.running.ended.result()))
                self._remove(entry)
        self._schedule()

    def _fail(self, entry: Entry, error: AiAdminError) -> None:
        """Loading did not succeed: tell who waits, and whoever asks within a moment."""
        self._history.failed(entry.key, error, self._clock.now())
        logger.warning("%s (%s), %s, could not be loaded: %s", entry.name, entry.backend, entry.asker, error)
        entry.reason = entry.reason or Reason(why="died", text="it could not be loaded")
        if not entry.loaded.done():
            entry.loaded.set_exception(error)
        self._remove(entry)
        self._schedule()

    def _give_up(self, entry: Entry) -> None:
        """Loading has ended: without a word, where it was cancelled."""
        if not entry.loaded.done():
            entry.loaded.set_exception(
                ModelLoadFailed(f"{entry.name} was unloaded while it was loading.", hint="Ask for it again.")
            )
            self._remove(entry)
            self._schedule()

    def _retire(self, entry: Entry, reason: Reason) -> None:
        """It takes no more requests."""
        entry.reason = reason
        if self._current.get(entry.key) is entry:
            del self._current[entry.key]

    def _become(self, entry: Entry, state: scheduler.State) -> None:
        entry.state, entry.since = state, self._clock.now()

    def _remove(self, entry: Entry) -> None:
        """It is gone."""
        if self._entries.pop(entry.id, None) is None:
            return
        reason = entry.reason or reasons.UNWANTED
        self._retire(entry, reason)
        if entry.loaded_because:
            served = reasons.count(entry.n_served, "request")
            logger.info("Unloaded %s (%s) after %s: %s", entry.name, entry.backend, served, reason.text)
            departure = Departure(name=entry.name, backend=entry.backend, at=self._clock.unix_time(), reason=reason)
            self._departures.append(departure)
        entry.gone.set()

    def _serves(self, entry: Entry, name: str) -> bool:
        try:
            return entry.serves(self._find(name))
        except ModelNotFound:
            return False
        except AiAdminError:  # it cannot be told: nothing is done about it
            return True


def _estimate(backend: Backend, entry: Entry) -> MemoryEstimate:
    """What the entry's model will take. Reads its files' headers."""
    spec, options = entry.target.spec, entry.target.options
    if not entry.takes_place:
        return MemoryEstimate()
    if isinstance(backend, EstimatesMemory):
        try:
            if estimate := backend.estimate_memory(spec, options):
                return estimate
        except Exception:
            logger.exception("The backend '%s' cannot say what %s takes", backend.name, spec.name)
    return MemoryEstimate(weights_bytes=sum(file.size for file in spec.files))
