"""A router over fakes: an opener that opens when it is told to, and a clock that stands still."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.errors import AiAdminError, ModelNotFound
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.memory import Memory
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec
from aiadmin_core.testing.echo import EchoBackend
from aiadmin_server.routing.router import Router
from aiadmin_server.routing.target import NothingLeft, Target
from aiadmin_server.settings import Settings

PLENTY = Memory(total=10**12, available=10**12)


class FakeClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.timers: list[tuple[float, Any, SimpleNamespace]] = []

    def now(self) -> float:
        return self.time

    def unix_time(self) -> float:
        return self.time + 1_000_000

    def call_later(self, delay_s: float, callback: Any) -> SimpleNamespace:
        timer = SimpleNamespace(live=True)
        timer.cancel = lambda: setattr(timer, "live", False)
        self.timers.append((self.time + delay_s, callback, timer))
        return timer

    def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [entry for entry in self.timers if entry[0] <= self.time]
        self.timers = [entry for entry in self.timers if entry[0] > self.time]
        for _, callback, timer in due:
            if timer.live:
                callback()


class FakeEngine:
    capabilities = Capabilities()
    facts = ModelFacts(size_bytes=5, notes=("a fact",))

    def stats(self) -> EngineStats:
        return EngineStats()


class FakeRunning:
    """What the opener gives."""

    def __init__(self, model: ModelSpec) -> None:
        self.model = model
        self.engine = FakeEngine()
        self.pid = None
        self.is_usable = True
        self.notes = ("a note",)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.complaint: str | None = None
        self.outgrown: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.memory_bytes = 0

    def trouble(self) -> str | None:
        return self.complaint

    async def stop(self) -> None:
        if not self.ended.done():
            self.ended.set_result(0)


@dataclass
class FakeOpener:
    """Opens at once, unless `gates` has an event for the model's name, or `errors` an error."""

    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    errors: dict[str, AiAdminError] = field(default_factory=dict)
    opened: list[FakeRunning] = field(default_factory=list)
    asked: list[tuple[str, str, str, EngineOptions]] = field(default_factory=list)
    n_cancelled: int = 0

    async def open(self, plugin: str, backend: Any, model: ModelSpec, options: EngineOptions) -> FakeRunning:
        self.asked.append((plugin, backend.name, model.name, options))
        if gate := self.gates.get(model.name):
            try:
                await gate.wait()
            except asyncio.CancelledError:
                self.n_cancelled += 1
                raise
        if error := self.errors.get(model.name):
            raise error
        self.opened.append(FakeRunning(model))
        return self.opened[-1]

    def running(self) -> list[str]:
        return [running.model.name for running in self.opened if not running.ended.done()]


class FakeBackend(EchoBackend):
    def __init__(self, name: str, suitabilities: dict[str, int]) -> None:
        self.name = name
        self.suitabilities = suitabilities
        self.in_process = False

    def suitability(self, model: ModelSpec) -> int | None:
        return self.suitabilities.get(model.format)

    def estimate_memory(self, model: ModelSpec, options: EngineOptions) -> MemoryEstimate | None:
        """What the model's parameters say."""
        if "weights" not in model.parameters:
            return None
        n_ctx = options.n_ctx or 100
        certain = model.parameters.get("certain", False)
        return MemoryEstimate(
            weights_bytes=model.parameters["weights"], cache_bytes=n_ctx, n_ctx=n_ctx, is_certain=certain
        )


@dataclass
class World:
    router: Router
    opener: FakeOpener
    clock: FakeClock
    targets: dict[str, Target]
    fallbacks: dict[str, Sequence[str]]
    """What else a name stands for."""
    memory: Memory = PLENTY

    def add(self, name: str, **changes: Any) -> None:
        """A model that can be asked for by `name`."""
        spec = ModelSpec(
            name=name,
            digest=changes.pop("digest", f"sha256:{name}"),
            format=changes.pop("format", "gguf"),
            files=changes.pop("files", ()),
            parameters=changes.pop("parameters", {}),
        )
        self.targets[name] = Target(requested=name, resolved=name, spec=spec, **changes)


@pytest.fixture
def make_world(tmp_path: Path):
    """A world with these settings; models `a`, `b` and `c` can be asked for. Call it inside the event loop."""

    def make(**settings: Any) -> World:
        slow, fast = FakeBackend("slow", {"gguf": 10, "safetensors": 10}), FakeBackend("fast", {"gguf": 90})
        remote = FakeBackend("remote", {"remote": 50})
        remote.in_process = True
        module = SimpleNamespace(aiadmin_backends=hookimpl(lambda: [slow, fast, remote]), __name__="fake")
        targets: dict[str, Target] = {}
        fallbacks: dict[str, Sequence[str]] = {}

        def resolve(name: str, passed: int = 0) -> Target:
            """What `fallbacks` say after the name itself."""
            names = [name, *fallbacks.get(name, ())]
            if passed >= len(names):
                raise NothingLeft
            found = targets.get(names[passed])
            if found is None:
                raise ModelNotFound(names[passed])
            return replace(found, requested=name)

        def find(name: str) -> list[Target]:
            names = [name, *fallbacks.get(name, ())]
            return [targets[one] for one in names if one in targets] or [resolve(name)]

        opener, clock = FakeOpener(), FakeClock()
        router = Router(
            resolve=resolve,
            find=find,
            plugins=load_plugins(builtin=[("fakes", module)], only=[]),
            settings=Settings(state=tmp_path, **settings),
            opener=opener,
            clock=clock,
            memory=lambda: world.memory,
        )
        world = World(router, opener, clock, targets, fallbacks)
        for name in "abc":
            world.add(name)
        return world

    return make


@pytest.fixture
def settled():
    """Let every task go on until all of them wait, worker threads' answers included."""

    async def settle() -> None:
        for _ in range(5):
            await asyncio.to_thread(lambda: None)
            for _ in range(20):
                await asyncio.sleep(0)

    return settle
