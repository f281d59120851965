"""The models that are loaded, or on their way in or out: the one owner of their entries. Made and used by the router,
from the event loop.

What loads, goes and is refused is decided by `scheduler`, from a description of what there is; this is what keeps that,
asks after every change, and carries out the answer. Nothing polls: loads, leases, runners that end or grow too large,
and one timer are all that changes anything, each between two awaits. `design.md` says what must never break.
"""

import asyncio
import itertools
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.memory import Memory

from ..runners import exits
from ..runners.supervisor import Opener, Running
from . import reasons, scheduler
from .backoff import Backoff, History
from .choice import Offers
from .entry import Clock, Entry, LoadedModel, Replica, Timer
from .estimate import estimate
from .reasons import Departure, Reason
from .scheduler import Limits, Situation
from .target import Target

N_DEPARTURES = 16
"""Models that went, of which the reason is kept."""

GROW_AGAIN_S = 30.0
"""After another engine of a model could not be opened, until it is tried again."""

logger = logging.getLogger(__name__)


class Fleet:
    """Opens models, keeps them, and lets them go."""

    def __init__(
        self,
        *,
        offers: Offers,
        opener: Opener,
        clock: Clock,
        memory: Callable[[], Memory | None],
        limits: Limits,
        backoff: Backoff,
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        """`refresh` lets go of what nobody can ask for any more: called before a model is opened."""
        self._offers = offers
        self._opener = opener
        self._clock = clock
        self._memory = memory
        self._limits = limits
        self._refresh = refresh
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

    # What there is.

    @property
    def closing(self) -> bool:
        """Whether nothing is opened any more."""
        return self._closing

    def entries(self) -> list[Entry]:
        """In the order they were asked for."""
        return list(self._entries.values())

    def current(self, key: str) -> Entry | None:
        """The one that takes requests to a model opened in this way."""
        return self._current.get(key)

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

    # What is asked of it.

    def admit(self, key: str, target: Target, backend: str, asker: str) -> Entry:
        """A new entry for `target`; `asker` as `reasons.asker` says it. Raises why it is not to be loaded just now."""
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
            asker=asker,
            since=now,
            last_used_at=now,
        )
        entry.loaded.add_done_callback(lambda loaded: loaded.exception())  # nobody may be waiting any more
        self._entries[entry.id] = self._current[key] = entry
        entry.work = asyncio.create_task(self._bring_up(entry))
        entry.work.add_done_callback(lambda _: self._give_up(entry))  # cancelled, perhaps before its first step
        return entry

    def let_go(self, entry: Entry, reason: Reason) -> None:
        """Unload it: at once while it is loading, when its requests are answered otherwise."""
        if entry.state in ("queued", "loading"):
            self._retire(entry, reason)
            self._become(entry, "stopping")
            assert entry.work is not None
            entry.work.cancel()
        elif entry.state == "ready":
            self.drain(entry.id, reason)
            self.schedule()

    def schedule(self) -> None:
        """Whatever may have become possible, or due, happens now."""
        if not self._closing:
            models = [entry.model() for entry in self._entries.values()]
            memory = self._memory() if any(model.state == "queued" for model in models) else None
            situation = Situation(models=models, memory=memory, limits=self._limits, now=self._clock.now())
            scheduler.schedule(situation, self)

    async def close(self) -> None:
        """End every runner, within seconds; requests that are still open fail."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        entries = list(self._entries.values())
        for entry in entries:
            if entry.state in ("queued", "loading"):
                self.let_go(entry, reasons.SHUTDOWN)
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
        self._timer = None if at == scheduler.NEVER else self._clock.call_later(at - self._clock.now(), self.schedule)

    # Loading and unloading.

    async def _bring_up(self, entry: Entry) -> None:
        """Wait for a place, open the model, tell who waits. Cancelled by `let_go` and `refuse`."""
        backend = self._offers[entry.backend][1]
        try:
            await self._refresh()  # what nobody can ask for any more makes room first
            if entry.takes_place:
                entry.need = await asyncio.to_thread(estimate, backend, entry.target)
            else:
                entry.need = MemoryEstimate()
            self.schedule()
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
            self._join(entry, running)
            entry.load_s = self._clock.now() - begun
            entry.last_used_at = self._clock.now()
            entry.loaded_because = reasons.loaded(entry.asker, load_s=entry.load_s, n_bytes=entry.n_bytes())
            self._become(entry, "ready")
            logger.info("Loaded %s (%s): %s", entry.name, entry.backend, entry.loaded_because)
            entry.loaded.set_result(None)
            self.complete(entry)
            self.schedule()

    def complete(self, entry: Entry) -> None:
        """Have the engines opened that it lacks, one after the other, while those it has answer."""
        lacks = entry.state == "ready" and len(entry.replicas) < entry.n_wanted
        if lacks and entry.growing is None and self._clock.now() >= entry.may_grow_at and not self._closing:
            entry.growing = asyncio.create_task(self._grow(entry))

    async def _grow(self, entry: Entry) -> None:
        """Cancelled when it is to take no more requests."""
        backend = self._offers[entry.backend][1]
        try:
            while len(entry.replicas) < entry.n_wanted:
                self._history.check(entry.key, entry.target.resolved, self._clock.now())
                self._check_room(entry)
                taken = {replica.index for replica in entry.replicas}
                index = next(index for index in itertools.count() if index not in taken)
                options = msgspec.structs.replace(entry.target.options, replica=index)
                running = await self._opener.open(entry.plugin, backend, entry.target.spec, options)
                self._join(entry, running, index)
                logger.info("Another engine of %s (%s): %s", entry.name, entry.backend, len(entry.replicas))
        except AiAdminError as error:
            entry.may_grow_at = self._clock.now() + GROW_AGAIN_S
            logger.warning("Another engine of %s (%s) could not be opened: %s", entry.name, entry.backend, error)
        except Exception:
            entry.may_grow_at = self._clock.now() + GROW_AGAIN_S
            logger.exception("Another engine of %s (%s) could not be opened", entry.name, entry.backend)
        finally:
            entry.growing = None

    def _check_room(self, entry: Entry) -> None:
        """Raises `ModelLoadFailed` where memory is short for another engine of it: nobody is sent away for one."""
        memory = self._memory()
        needed = entry.need.n_bytes // entry.n_wanted if entry.need else 0
        if memory is not None and needed > memory.available:
            raise ModelLoadFailed(
                f"It takes {reasons.size(needed)} of memory, and {reasons.size(memory.available)} are free."
            )

    def _join(self, entry: Entry, running: Running, index: int = 0) -> None:
        replica = Replica(running, index)
        entry.replicas.append(replica)
        running.ended.add_done_callback(lambda _: self._on_ended(entry, replica))
        running.outgrown.add_done_callback(lambda _: self.schedule())

    async def _stop(self, entry: Entry) -> None:
        try:
            if entry.growing is not None:
                await asyncio.wait({entry.growing})  # it was told to end
            await asyncio.gather(*(replica.running.stop() for replica in entry.replicas))
        finally:
            self._remove(entry)
            self.schedule()

    def _on_ended(self, entry: Entry, replica: Replica) -> None:
        """A runner has ended, asked to or not: the next request has the model loaded afresh."""
        entry.replicas.remove(replica)
        if entry.state in ("ready", "draining") and not self._closing:
            self._deaths[entry.name] += 1
            self._history.died(entry.key, self._clock.now())
            if entry.replicas:
                self.complete(entry)
            else:
                entry.reason = reasons.died(exits.how_it_ended(replica.running.ended.result()))
                self._remove(entry)
        self.schedule()

    def _fail(self, entry: Entry, error: AiAdminError) -> None:
        """Loading did not succeed: tell who waits, and whoever asks within a moment."""
        self._history.failed(entry.key, error, self._clock.now())
        logger.warning("%s (%s), %s, could not be loaded: %s", entry.name, entry.backend, entry.asker, error)
        entry.reason = entry.reason or Reason(why="died", text="it could not be loaded")
        if not entry.loaded.done():
            entry.loaded.set_exception(error)
        self._remove(entry)
        self.schedule()

    def _give_up(self, entry: Entry) -> None:
        """Loading has ended: without a word, where it was cancelled."""
        if not entry.loaded.done():
            entry.loaded.set_exception(
                ModelLoadFailed(f"{entry.name} was unloaded while it was loading.", hint="Ask for it again.")
            )
            self._remove(entry)
            self.schedule()

    def _retire(self, entry: Entry, reason: Reason) -> None:
        """It takes no more requests."""
        entry.reason = reason
        if entry.growing is not None:
            entry.growing.cancel()
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
