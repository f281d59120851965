"""One model that is loaded, or on its way in or out: what the router keeps of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec
import psutil
from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.backend import Engine
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec

from ..durations import FOREVER
from ..runners.supervisor import Running
from . import eviction
from .target import Target


class Lease(Struct, frozen=True, kw_only=True):
    """An engine that stays loaded while the lease is held."""

    engine: Engine
    spec: ModelSpec
    requested: str
    resolved: str
    backend: str


class LoadedModel(Struct, frozen=True, kw_only=True):
    """A loaded model, as `aiadmin ps` shows it."""

    name: str
    digest: str
    backend: str
    state: str
    """"starting", "ready" or "stopping"."""
    pid: int | None
    size_bytes: int
    facts: ModelFacts
    stats: EngineStats
    notes: tuple[str, ...]
    n_active: int
    """Requests that hold a lease or wait for one."""
    expires_at: float | None
    """Unix seconds; None while it is in use, and for a model that stays."""
    capabilities: Capabilities | None = None
    """None while it is on its way in or out."""


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
    n_active: int = 0


@dataclass(kw_only=True, eq=False)
class Entry:
    """Changed by the router alone, between two awaits: whoever looks sees a whole state."""

    key: str
    target: Target
    """Of the request that had it loaded."""
    plugin: str
    backend: str
    keep_alive_s: float
    state: Literal["starting", "ready", "stopping"] = "starting"
    replicas: list[Replica] = field(default_factory=list)
    has_place: bool = False
    """Whether it counts among the models that may be loaded at once: from before its engine is opened. Never for a
    backend that needs no process: a remote model must not push a local one out."""
    n_waiting: int = 0
    """Requests that wait for it to be loaded."""
    names: set[str] = field(default_factory=set)
    """Every name it was asked for by."""
    last_used_at: float = 0.0
    expires_at: float = FOREVER
    """On the clock of `Clock.now`, while it is idle."""
    timer: Timer | None = None
    work: asyncio.Task[None] | None = None
    """What loads it, then what unloads it."""
    loaded: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no lease is held."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def n_leased(self) -> int:
        return sum(replica.n_active for replica in self.replicas)

    @property
    def n_active(self) -> int:
        return self.n_leased + self.n_waiting

    @property
    def n_queued(self) -> int:
        """Requests that nothing works on yet, as far as the engines' last word goes."""
        n_running = sum(_counters(replica.running.engine).n_running for replica in self.replicas)
        return self.n_waiting + max(0, self.n_leased - n_running)

    def least_busy(self) -> Replica | None:
        """The engine for the next request; None where none can answer."""
        usable = [replica for replica in self.replicas if replica.running.is_usable]
        return min(usable, key=lambda replica: replica.n_active, default=None)

    def serves(self, target: Target) -> bool:
        """Whether it is `target`'s model, opened with whatever options."""
        model, wanted = self.target.spec, target.spec
        same = model.digest == wanted.digest if wanted.digest else self.target.resolved == target.resolved
        return same and target.backend in (None, self.backend)

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.expires_at = FOREVER

    def candidate(self, now: float) -> eviction.Candidate:
        return eviction.Candidate(
            key=self.key,
            n_active=self.n_active,
            remaining_s=self.expires_at - now,
            last_used_at=self.last_used_at,
        )

    def view(self, clock: Clock) -> LoadedModel:
        """What `aiadmin ps` shows."""
        first = self.replicas[0].running if self.replicas else None
        facts = first.engine.facts if first else ModelFacts()
        notes = (*first.notes, *facts.notes) if first else ()
        expires = self.expires_at != FOREVER
        return LoadedModel(
            name=self.target.resolved,
            digest=self.target.spec.digest,
            backend=self.backend,
            state=self.state,
            pid=first.pid if first else None,
            size_bytes=facts.size_bytes or sum(file.size for file in self.target.spec.files),
            facts=facts,
            stats=combined([_stats(replica.running) for replica in self.replicas]),
            notes=notes,
            n_active=self.n_active,
            expires_at=clock.unix_time() + self.expires_at - clock.now() if expires else None,
            capabilities=first.engine.capabilities if first else None,
        )


def _stats(running: Running) -> EngineStats:
    """The engine's counters; its memory as the system sees it, where it does not tell."""
    stats = _counters(running.engine)
    if stats.memory_bytes or running.pid is None:
        return stats
    try:
        return replace(stats, memory_bytes=psutil.Process(running.pid).memory_info().rss)
    except psutil.Error:  # it has just ended, or is not ours to look at
        return stats


def _counters(engine: Engine) -> EngineStats:
    """What the engine counts; nothing where it cannot say: one in this process may be dead, or a stranger's."""
    try:
        return engine.stats()
    except Exception:
        return EngineStats()


def combined(stats: list[EngineStats]) -> EngineStats:
    """The sum of several engines' counters; the largest of their largest batches."""
    if len(stats) == 1:
        return stats[0]
    total: dict[str, Any] = dict.fromkeys(EngineStats.__struct_fields__, 0)
    for one in stats:
        for name, value in msgspec.structs.asdict(one).items():
            total[name] = max(total[name], value) if name == "max_batch" else total[name] + value
    return EngineStats(**total)
