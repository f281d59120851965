"""The one owner of what is loaded: names become leases on engines. Made once by the app; used from its event loop.

Nothing polls: loads, leases, timers and ended runners change an `Entry` between two awaits, and wake who waits for
the change.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiadmin_core.errors import AiAdminError, ModelLoadFailed, ModelNotFound, Overloaded
from aiadmin_core.plugins import Plugins

from ..durations import FOREVER
from ..runners.supervisor import Opener, Supervisor
from ..settings import Settings
from . import eviction
from .choice import choose_backend, engine_key
from .entry import Clock, Entry, Lease, LoadedModel, Replica
from .target import Target

BACKOFF_S = 1.0
BACKOFF_MAX_S = 15.0
"""How long a model that cannot be loaded is not tried again: at first, and after many failures in a row."""
PATIENCE_S = 30.0
"""How long a model waits for another to become idle before one is made to."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A load that did not succeed."""

    error: AiAdminError
    until: float
    n_in_a_row: int


class Router:
    """Leases engines, loads models on first use and unloads them when they are no longer wanted."""

    def __init__(
        self,
        *,
        resolve: Callable[[str], Target],
        plugins: Plugins,
        settings: Settings,
        opener: Opener | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`resolve` raises `InvalidName` and `ModelNotFound`; it reads the disk, and is called on a worker thread."""
        self._resolve = resolve
        self._settings = settings
        self._offers = plugins.offers()
        self._broken = plugins.broken
        self._opener = opener or Supervisor(settings, plugins)
        self._clock = clock or Clock()
        self._entries: dict[str, Entry] = {}
        self._failures: dict[str, Failure] = {}
        self._deaths: Counter[str] = Counter()
        self._making_room = asyncio.Lock()
        """Held by the load that waits for a place: places are given in the order they were asked for."""
        self._room_changed = asyncio.Event()
        self._closing = False

    @asynccontextmanager
    async def lease(self, name: str, keep_alive_s: float | None = None) -> AsyncGenerator[Lease, None]:
        """The engine for the model `name`, which stays loaded until the context is left. `keep_alive_s` sets how long
        it stays loaded after that, until another request sets it; None leaves it.

        Raises what `resolve` raises, `NoBackend`, `Overloaded`, and what loading the model raises.
        """
        target = await asyncio.to_thread(self._resolve, name)
        await target.checked()
        entry, replica = await self._acquire(target, keep_alive_s)
        try:
            yield Lease(
                engine=replica.running.engine,
                spec=target.spec,
                requested=target.requested,
                resolved=target.resolved,
                backend=entry.backend,
            )
        finally:
            replica.n_active -= 1
            self._settle(entry)

    def loaded(self) -> list[LoadedModel]:
        """What is loaded, or on its way in or out."""
        return [entry.view(self._clock) for entry in self._entries.values()]

    def deaths(self) -> Mapping[str, int]:
        """How many runners ended without being asked to, by the name of their model."""
        return self._deaths

    def health(self) -> list[str]:
        """What is wrong, one sentence each."""
        return [
            f"{entry.target.resolved} ({entry.backend}): {trouble}"
            for entry in self._entries.values()
            for replica in entry.replicas
            if (trouble := replica.running.trouble())
        ]

    async def unload(self, name: str) -> bool:
        """Unload the model `name` when it has answered the requests it has; False where it is not loaded.

        Raises `ModelNotFound` where there is no model of this name, loaded or not.
        """
        try:
            target = await asyncio.to_thread(self._resolve, name)
        except ModelNotFound:  # removed while it is loaded
            entries = [entry for entry in self._entries.values() if name in entry.names]
            if not entries:
                raise
        else:
            entries = [entry for entry in self._entries.values() if entry.serves(target)]
        for entry in entries:
            self._unload(entry)
        for entry in entries:
            await entry.gone.wait()
        return bool(entries)

    async def close(self) -> None:
        """End every runner, within seconds; requests that are still open fail."""
        self._closing = True
        entries = list(self._entries.values())
        for entry in entries:
            entry.cancel_timer()
            if entry.state == "starting":
                self._unload(entry)
        stops = [replica.running.stop() for entry in entries for replica in entry.replicas]
        await asyncio.gather(*stops, return_exceptions=True)
        for entry in entries:
            entry.drained.set()
        await asyncio.gather(*(entry.work for entry in entries if entry.work is not None), return_exceptions=True)

    async def _acquire(self, target: Target, keep_alive_s: float | None) -> tuple[Entry, Replica]:
        """A place on the least busy engine of `target`'s model, which is loaded first where it is not."""
        backend = choose_backend(target, self._offers, self._broken)
        key = engine_key(target, backend)
        while True:
            if self._closing:
                raise Overloaded("The server is shutting down.")
            entry = self._entries.get(key) or self._admit(key, target, backend)
            if entry.state == "stopping":
                await entry.gone.wait()
                continue
            if entry.n_queued >= self._settings.max_queue:
                raise Overloaded(f"{entry.n_queued} requests are waiting for {target.resolved} already.")
            entry.names |= {target.requested, target.resolved}
            if keep_alive_s is not None:
                entry.keep_alive_s = keep_alive_s
            if entry.state == "starting":
                await self._wait_for(entry)
                continue  # much may have happened before this task was woken
            replica = entry.least_busy()
            if replica is None:  # they have died a moment ago
                await entry.gone.wait()
                continue
            replica.n_active += 1
            self._settle(entry)
            return entry, replica

    async def _wait_for(self, entry: Entry) -> None:
        """Until `entry` is loaded. Raises why it cannot be. Who leaves does not stop the load for the others."""
        entry.n_waiting += 1
        try:
            await asyncio.shield(entry.loaded)
        except BaseException:
            entry.n_waiting -= 1
            self._settle(entry)
            raise
        entry.n_waiting -= 1

    def _admit(self, key: str, target: Target, backend: str) -> Entry:
        """Start to load `target`. Raises the last failure where that was a moment ago."""
        failure = self._failures.get(key)
        if failure is not None and self._clock.now() < failure.until:
            raise failure.error.with_traceback(None)  # each raise adds frames, which hold the requests before
        keep_alive_s = self._settings.keep_alive_s if target.keep_alive_s is None else target.keep_alive_s
        plugin, _ = self._offers[backend]
        entry = Entry(key=key, target=target, plugin=plugin, backend=backend, keep_alive_s=keep_alive_s)
        entry.loaded.add_done_callback(lambda loaded: loaded.exception())  # nobody may be waiting any more
        self._entries[key] = entry
        entry.work = asyncio.create_task(self._load(entry))
        entry.work.add_done_callback(lambda _: self._give_up(entry))  # cancelled, perhaps before its first step
        return entry

    async def _load(self, entry: Entry) -> None:
        """Make room, open the model, tell who waits. Cancelled by `_unload` and `close`."""
        backend = self._offers[entry.backend][1]
        try:
            if not getattr(backend, "in_process", False):  # nothing native in it: it takes nobody's place
                async with self._making_room:
                    if not await self._make_room(entry):
                        return self._give_up(entry)
                    entry.has_place = True
            running = await self._opener.open(entry.plugin, backend, entry.target.spec, entry.target.options)
        except AiAdminError as error:
            self._fail(entry, error)
        except Exception as error:
            logger.exception("Loading %s failed", entry.target.resolved)
            message = f"{entry.target.resolved} cannot be loaded: {type(error).__name__}."
            self._fail(entry, ModelLoadFailed(message, hint="The server's log has the traceback."))
        else:
            self._failures.pop(entry.key, None)
            replica = Replica(running)
            entry.replicas.append(replica)
            entry.state = "ready"
            entry.loaded.set_result(None)
            running.ended.add_done_callback(lambda _: self._on_ended(entry, replica))
            self._settle(entry)

    async def _make_room(self, entry: Entry) -> bool:
        """Wait for a place, unloading the model to go where all are taken. False: nobody waits for `entry` any
        more."""
        deadline = self._clock.now() + PATIENCE_S
        alarm = self._clock.call_later(PATIENCE_S, self._room_changed.set)
        try:
            while entry.n_waiting:
                taken = [other for other in self._entries.values() if other.has_place]
                leaving = [other for other in taken if other.state == "stopping"]
                if len(taken) < self._settings.max_loaded:
                    return True
                if len(taken) - sum(not other.n_leased for other in leaving) >= self._settings.max_loaded:
                    now = self._clock.now()
                    candidates = [other.candidate(now) for other in taken if other.state == "ready"]
                    key = eviction.choose(candidates, patient=bool(leaving) or now < deadline)
                    if key is not None:
                        self._unload(self._entries[key])
                self._room_changed.clear()
                await self._room_changed.wait()
            return False
        finally:
            alarm.cancel()

    def _unload(self, entry: Entry) -> None:
        """Let `entry` go: at once while it is loading, when its requests are answered otherwise."""
        if entry.state == "starting" and entry.work is not None:
            entry.state = "stopping"
            entry.work.cancel()
        elif entry.state == "ready":
            entry.cancel_timer()
            entry.state = "stopping"
            entry.work = asyncio.create_task(self._drain_and_stop(entry))

    async def _drain_and_stop(self, entry: Entry) -> None:
        await entry.drained.wait()
        try:
            await asyncio.gather(*(replica.running.stop() for replica in entry.replicas))
        finally:
            self._remove(entry)

    def _settle(self, entry: Entry) -> None:
        """A lease was taken or given back, or somebody stopped waiting: an idle model's time starts now."""
        entry.cancel_timer()
        if entry.n_leased:
            entry.drained.clear()
        else:
            entry.drained.set()
        if entry.state == "ready" and any(replica.running.outgrown for replica in entry.replicas):
            self._unload(entry)  # who asks from now on waits for the next runner
        elif entry.state == "ready" and not entry.n_active:
            entry.last_used_at = self._clock.now()
            if entry.keep_alive_s <= 0:
                self._unload(entry)
            elif entry.keep_alive_s != FOREVER:
                entry.expires_at = entry.last_used_at + entry.keep_alive_s
                entry.timer = self._clock.call_later(entry.keep_alive_s, lambda: self._unload(entry))
        self._room_changed.set()

    def _on_ended(self, entry: Entry, replica: Replica) -> None:
        """A runner has ended, asked to or not: the next request has the model loaded afresh."""
        entry.replicas.remove(replica)
        if entry.state == "ready" and not self._closing:
            self._deaths[entry.target.resolved] += 1
        if entry.state == "ready" and not entry.replicas:
            self._remove(entry)
        else:
            self._settle(entry)

    def _fail(self, entry: Entry, error: AiAdminError) -> None:
        """Loading did not succeed: tell who waits, and whoever asks within a moment."""
        before = self._failures.get(entry.key)
        n_in_a_row = before.n_in_a_row + 1 if before else 1
        backoff_s = min(BACKOFF_S * 2 ** (n_in_a_row - 1), BACKOFF_MAX_S)
        self._failures[entry.key] = Failure(error, self._clock.now() + backoff_s, n_in_a_row)
        entry.loaded.set_exception(error)
        self._remove(entry)

    def _give_up(self, entry: Entry) -> None:
        """Loading has ended: without a word, where it was cancelled."""
        if not entry.loaded.done():
            entry.loaded.set_exception(
                ModelLoadFailed(f"{entry.target.resolved} was unloaded while it was loading.", hint="Ask for it again.")
            )
            self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        entry.cancel_timer()
        entry.state = "stopping"
        entry.drained.set()
        entry.gone.set()
        self._room_changed.set()
