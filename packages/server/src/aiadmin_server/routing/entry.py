"""One model that is loaded, or on its way in or out: what the fleet keeps of it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.backend import Engine, MemoryEstimate, SupportsAdapters
from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec
from aiadmin_core.specs.request import Adapter

from ..durations import FOREVER
from ..runners.supervisor import Running
from ..store.names import same_name, short_name
from . import scheduler
from .adapters import LoadedFrom
from .affinity import Beginning, Known, choose
from .choice import same_files
from .reasons import Reason, size
from .scheduler import State
from .target import Target

MAX_NAMES = 64
"""Spellings of its names that are kept: clients choose them."""


@dataclass(kw_only=True, eq=False)
class Lease:
    """An engine that stays loaded while the lease is held."""

    engine: Engine
    spec: ModelSpec
    requested: str
    resolved: str
    backend: str
    adapters: tuple[Adapter, ...] = ()
    """What requests apply."""
    load_s: float = 0.0
    """How long this lease waited for the model to be loaded."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What the request leaves open, by the names of `SamplingParams` and of manifests: the name's word, then the
    model's own."""
    system: str | None = None
    """The name's system message, for conversations that have none; the engine adds the model's own where it is None."""
    stop: tuple[str, ...] = ()
    """Texts that end answers under this name, besides the request's and the model's own."""
    fell_back: str = ""
    """Why it is not the model that the name stands for, but a fallback; "" where it is."""
    falls_back: bool = False
    """Whether another model may be asked where this one does not answer."""
    failures: tuple[AiAdminError, ...] = ()
    """Why those before could not."""
    n_waiting: int = 1
    """Requests to the engine it stands for that nothing has answered yet."""

    @property
    def model(self) -> str:
        """The model, as clients write its name."""
        return short_name(self.resolved)

    @property
    def answers_as(self) -> str:
        """The model that an answer says it is from: the name that was asked for, or the fallback's own."""
        return self.model if self.fell_back else self.requested

    def begun(self) -> None:
        """The engine has begun to answer one of its requests: it no longer counts as waiting."""
        self.n_waiting = max(0, self.n_waiting - 1)


class LoadedModel(Struct, frozen=True, kw_only=True):
    """A loaded model, as `aiadmin ps` shows it."""

    name: str
    names: tuple[str, ...]
    """Every name it is served under, models first, aliases after them."""
    digest: str
    backend: str
    state: str
    """"starting", "ready" or "stopping"."""
    reason: str
    """Why it is there; why it goes, where it does."""
    pids: tuple[int, ...]
    """Of its engines' processes."""
    size_bytes: int
    """Memory it takes; what it is expected to, while it is loading."""
    facts: ModelFacts
    stats: EngineStats
    notes: tuple[str, ...]
    n_active: int
    """Requests that hold a lease or wait for one."""
    expires_at: float | None
    """Unix seconds; None while it is in use, and for a model that stays."""
    capabilities: Capabilities | None = None
    """None while it is on its way in or out."""

    @property
    def pid(self) -> int | None:
        """Of the first of them; None where it has no process of its own."""
        return self.pids[0] if self.pids else None


class Timer(Protocol):
    """A call that can be called off."""

    def cancel(self) -> None: ...


class Clock:
    """The time, and calls at a time. Tests have one they can set."""

    def now(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_s, callback)


@dataclass(eq=False)
class Replica:
    """One of the engines that answer for a model."""

    running: Running
    index: int = 0
    """Which of them it is: one that takes another's place has its number."""
    adapters: set[str] = field(default_factory=set)
    """Digests of those it has loaded."""
    leases: list[Lease] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    """How the prompts it was given begin."""

    async def load(self, adapters: Iterable[LoadedFrom]) -> None:
        """Have its engine load those that it has not. One that applies none is asked nothing: what is wanted of it is
        refused by name, later. Raises what the engine says of a file."""
        engine = self.running.engine
        if "adapters" not in engine.capabilities.protocols:
            return
        for one in adapters:
            if one.adapter.digest not in self.adapters:
                await cast(SupportsAdapters, engine).load_adapter(one.adapter.digest, Path(one.path))
                self.adapters.add(one.adapter.digest)


@dataclass(kw_only=True, eq=False)
class Entry:
    """Changed by the router and its fleet alone, between two awaits: whoever looks sees a whole state."""

    id: int
    key: str
    target: Target
    """Of the request that had it loaded."""
    plugin: str
    backend: str
    takes_place: bool
    """Whether it counts among the models that may be loaded at once."""
    asker: str
    """Who had it loaded."""
    since: float
    """When it came into its state, on the clock of `Clock.now`."""
    state: State = "queued"
    need: MemoryEstimate | None = None
    """What it will take; None until that is known."""
    load_s: float = 0.0
    """How long opening it took."""
    replicas: list[Replica] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    """Of each request that waits for it to be loaded, how many it will put to the engine."""
    n_served: int = 0
    """Leases that were given."""
    growing: asyncio.Task[None] | None = None
    """What opens engines beside the first."""
    may_grow_at: float = 0.0
    """Not before that: the last try was in vain."""
    names: dict[str, str] = field(default_factory=dict)
    """Every name it was asked for by, and the model behind each."""
    keep_alives: dict[str, float] = field(default_factory=dict)
    """What each of them says, or the settings."""
    asked_keep_alive_s: float | None = None
    """What the last request that said anything about it said."""
    last_used_at: float = 0.0
    reason: Reason | None = None
    """Why it goes."""
    loaded_because: str = ""
    work: asyncio.Task[None] | None = None
    """What loads it, then what unloads it."""
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it may be loaded."""
    loaded: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def leases(self) -> list[Lease]:
        return [lease for replica in self.replicas for lease in replica.leases]

    @property
    def n_active(self) -> int:
        return len(self.leases) + len(self.waiting)

    @property
    def n_queued(self) -> int:
        """Requests that no engine has begun to answer."""
        return sum(self.waiting) + sum(lease.n_waiting for lease in self.leases)

    @property
    def keep_alive_s(self) -> float:
        """The last request's word, else the longest of what its names say: a name that pins it is not undone by
        another."""
        if self.asked_keep_alive_s is not None:
            return self.asked_keep_alive_s
        return max(self.keep_alives.values(), default=FOREVER)

    @property
    def name(self) -> str:
        """What it is called: a name that is still there, where one is."""
        return next(iter(self.names.values()), self.target.resolved)

    def called(self, target: Target, keep_alive_s: float) -> None:
        """It was asked for by `target`'s name, which keeps it for `keep_alive_s`."""
        name = next((known for known in self.names if same_name(known, target.requested)), target.requested)
        if name in self.names or len(self.names) < MAX_NAMES:
            self.names[name] = target.resolved
            self.keep_alives[name] = keep_alive_s

    def forget(self, name: str) -> None:
        """It is no longer served by this name."""
        self.names.pop(name, None)
        if len(self.keep_alives) > 1:  # the last one's word counts until it is gone
            self.keep_alives.pop(name, None)

    def is_called(self, name: str) -> bool:
        return any(name in pair or same_name(name, pair[0]) or same_name(name, pair[1]) for pair in self.names.items())

    @property
    def n_wanted(self) -> int:
        """How many engines it is to have: several in one process would only share it."""
        return (self.target.options.n_replicas or 1) if self.takes_place else 1

    @property
    def is_usable(self) -> bool:
        """Whether one of its engines can answer."""
        return any(replica.running.is_usable for replica in self.replicas)

    def replica_for(self, begins: Callable[[], Sequence[Beginning]]) -> Replica:
        """The engine for a prompt that begins so, which it is taken to read. One at least has to be usable."""
        usable = [replica for replica in self.replicas if replica.running.is_usable]
        if len(usable) == self.n_wanted == 1:
            return usable[0]
        found = begins()
        index = choose([len(one.leases) for one in usable], [one.known.n_bytes(found) for one in usable])
        usable[index].known.add(found)
        return usable[index]

    def serves(self, target: Target) -> bool:
        """Whether it is `target`'s model, opened with whatever options."""
        return same_files(self.target, target) and target.backend in (None, self.backend)

    def model(self) -> scheduler.Model:
        """What is decided by."""
        return scheduler.Model(
            id=self.id,
            name=self.name,
            state=self.state,
            takes_place=self.takes_place,
            need=self.need,
            n_leased=len(self.leases),
            n_waiting=len(self.waiting),
            since=self.since,
            last_used_at=self.last_used_at,
            keep_alive_s=self.keep_alive_s,
            load_s=self.load_s,
            asker=self.asker,
            outgrown=next(
                (one.running.outgrown.result() for one in self.replicas if one.running.outgrown.done()), None
            ),
            reason=self.reason,
        )

    def view(self, clock: Clock) -> LoadedModel:
        """What `aiadmin ps` shows."""
        first = self.replicas[0].running if self.replicas else None
        facts = first.engine.facts if first else ModelFacts()
        stats = combined([_stats(replica.running) for replica in self.replicas])
        kept = [f"{size(stats.prefix_bytes)} of it for prompts that begin alike"] if stats.prefix_bytes else []
        notes = (*first.notes, *facts.notes, *self._said_of_replicas(), *kept) if first else ()
        expires_at = self.model().expires_at
        names = dict.fromkeys([self.name, *self.names.values(), *self._aliases()])
        return LoadedModel(
            name=self.name,
            names=tuple(names),
            digest=self.target.spec.digest,
            backend=self.backend,
            state={"queued": "starting", "loading": "starting", "draining": "stopping"}.get(self.state, self.state),
            reason=self.reason.text if self.reason else self.loaded_because or self.asker,
            pids=tuple(one.running.pid for one in self.replicas if one.running.pid is not None),
            size_bytes=self.n_bytes(),
            facts=facts,
            stats=stats,
            notes=notes,
            n_active=self.n_active,
            expires_at=clock.unix_time() + expires_at - clock.now() if expires_at < FOREVER else None,
            capabilities=first.engine.capabilities if first else None,
        )

    def n_bytes(self) -> int:
        """Memory it takes: as the system sees it, else as the engine or the estimate has it."""
        if measured := sum(replica.running.memory_bytes for replica in self.replicas):
            return measured
        if self.replicas and (told := sum(replica.running.engine.facts.size_bytes for replica in self.replicas)):
            return told
        return self.need.n_bytes if self.need else 0

    def _said_of_replicas(self) -> list[str]:
        n, n_wanted = len(self.replicas), self.n_wanted
        return [] if n_wanted == 1 else [f"{n if n == n_wanted else f'{n} of {n_wanted}'} engines answer for it"]

    def _aliases(self) -> list[str]:
        return [asked for asked, resolved in self.names.items() if not same_name(asked, resolved)]


def _stats(running: Running) -> EngineStats:
    """The engine's counters; its memory as the system sees it, where it does not tell."""
    try:
        stats = running.engine.stats()
    except Exception:  # one in this process may be dead, or a stranger's
        stats = EngineStats()
    return stats if stats.memory_bytes else replace(stats, memory_bytes=running.memory_bytes)


def combined(stats: list[EngineStats]) -> EngineStats:
    """The sum of several engines' counters; the largest of their largest batches."""
    if len(stats) == 1:
        return stats[0]
    total: dict[str, Any] = dict.fromkeys(EngineStats.__struct_fields__, 0)
    for one in stats:
        for name, value in msgspec.structs.asdict(one).items():
            total[name] = max(total[name], value) if name == "max_batch" else total[name] + value
    return EngineStats(**total)
