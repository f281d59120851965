"""Starts what holds a loaded model: a runner's process, once more in safe mode if it crashes while loading, or an
engine in the server's own process. Called by the router, which owns what is started.
"""

import asyncio
import contextlib
import logging
import os
import re
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from aiadmin_core.backend import Backend, Engine
from aiadmin_core.errors import AiAdminError, EngineStopped, ModelLoadFailed
from aiadmin_core.plugins import Plugins
from aiadmin_core.runner.opening import open_in_process
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from ..settings import Settings
from . import exits, machine
from .cores import Cores
from .log import LOGS
from .process import DiedLoading, Patience, RunnerProcess
from .vitals import Limits

logger = logging.getLogger(__name__)


class Running(Protocol):
    """A loaded model, ready to answer."""

    @property
    def engine(self) -> Engine: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def notes(self) -> tuple[str, ...]:
        """What an administrator should know."""

    @property
    def memory_bytes(self) -> int:
        """What it takes, as the system sees it; 0 where it has no process of its own."""

    @property
    def is_usable(self) -> bool:
        """Whether requests may be sent to it; where not, `ended` is about to be done."""

    @property
    def ended(self) -> "asyncio.Future[int]":
        """Done when the engine cannot answer any more, and what held it is gone."""

    @property
    def outgrown(self) -> "asyncio.Future[str]":
        """Done, with the reason, once it is to be replaced as soon as its requests are answered."""

    def trouble(self) -> str | None:
        """What seems wrong with it, or None."""

    async def stop(self) -> None:
        """End its requests and free the model, within seconds."""


class Opener(Protocol):
    """Opens models: `Supervisor`, or a fake."""

    async def open(self, plugin: str, backend: Backend, model: ModelSpec, options: EngineOptions) -> Running: ...


class InProcess:
    """An engine in the server's own process: nothing protects the server from it."""

    notes = ("runs in the server's own process",)
    memory_bytes = 0

    def __init__(self, engine: Engine, *, watch_s: float) -> None:
        """`watch_s`: seconds between two looks at whether the engine lives."""
        self.engine = engine
        self._watch_s = watch_s
        self.pid = os.getpid()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.outgrown: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # nobody weighs it
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_usable(self) -> bool:
        return not self.ended.done()

    def trouble(self) -> str | None:
        return None

    async def stop(self) -> None:
        self._watching.cancel()
        if not self.ended.done():
            self.ended.set_result(0)
            await self.engine.close()

    async def _watch(self) -> None:
        """Let go of an engine that has died, as a runner would end: the next request opens the model afresh."""
        while True:
            try:
                self.engine.stats()
            except EngineStopped as error:
                logger.error("%s", error)
                self.ended.set_result(1)
                await self.engine.close()
                return
            except Exception:  # a bug in its counters: it may answer all the same
                logger.debug("An engine's stats cannot be read", exc_info=True)
            await asyncio.sleep(self._watch_s)


class Supervisor:
    """Opens models as the settings say."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        *,
        limits: Limits | None = None,
        patience: Patience = Patience(),
        watch_s: float = 2.0,
    ) -> None:
        """`plugins` are asked for dialects, here and in runners."""
        self._settings = settings
        self._plugins = plugins
        self._limits = limits
        self._patience = patience
        self._watch_s = watch_s
        self._cores = Cores()

    async def open(self, plugin: str, backend: Backend, model: ModelSpec, options: EngineOptions) -> Running:
        """Open `model`; cancelling it leaves no process behind.

        Raises the `AiAdminError` that says why it cannot be opened.
        """
        if self._settings.in_process or getattr(backend, "in_process", False):
            return await self._open_here(backend, model, options)
        build = await asyncio.to_thread(backend.build_id)
        crash = await asyncio.to_thread(self._known_crash, backend.name, build)
        if crash is not None:
            options = replace(options, safe_mode=True)
        try:
            process = await self._start(plugin, backend.name, model, options)
        except DiedLoading as death:
            decision = exits.after_exit(
                death.status, loading=True, safe_mode=options.safe_mode, said_no_memory=death.said_no_memory
            )
            if decision.action != "start in safe mode":
                raise ModelLoadFailed(death.account, hint=decision.hint) from None
            logger.warning("%s", death.account)
            logger.warning("Starting %s once more, in safe mode.", model.name)
            process = await self._start_safely(plugin, backend.name, model, options)
            reason = exits.how_it_ended(death.status)
            machine.remember(self._settings.state, backend=backend.name, build=build, reason=reason)
            process.notes = (_note(reason),)
        else:
            process.notes = (_note(crash.reason),) if crash else ()
        return process

    async def _open_here(self, backend: Backend, model: ModelSpec, options: EngineOptions) -> InProcess:
        opening = asyncio.create_task(open_in_process(backend, model, options, plugins=self._plugins))
        try:
            return InProcess(await asyncio.shield(opening), watch_s=self._watch_s)
        except asyncio.CancelledError:  # the thread that opens it cannot be stopped
            with contextlib.suppress(AiAdminError):
                await (await opening).close()
            raise

    def _known_crash(self, backend: str, build: str) -> machine.Crash | None:
        known = machine.read(self._settings.state)
        return machine.find(known, backend=backend, build=build, processor=machine.processor()) if build else None

    async def _start_safely(self, plugin: str, backend: str, model: ModelSpec, options: EngineOptions) -> RunnerProcess:
        try:
            return await self._start(plugin, backend, model, replace(options, safe_mode=True))
        except DiedLoading as death:
            hint = exits.after_exit(
                death.status, loading=True, safe_mode=True, said_no_memory=death.said_no_memory
            ).hint
            raise ModelLoadFailed(death.account, hint=hint) from None

    async def _start(self, plugin: str, backend: str, model: ModelSpec, options: EngineOptions) -> RunnerProcess:
        process = RunnerProcess(
            plugin=plugin,
            backend=backend,
            model=model,
            options=options,
            dialects=self._plugins.with_dialects(),
            load_timeout_s=self._settings.load_timeout_s,
            log_path=log_path(self._settings.state, backend, model.name),
            memory_bytes=self._settings.runner_memory_mib << 20,
            limits=self._limits,
            patience=self._patience,
            cores=self._cores,
        )
        await process.start()
        return process


def log_path(state: Path, backend: str, model: str) -> Path:
    """Where the runner of a model keeps its log."""
    return state / LOGS / log_name(backend, model)


def log_name(backend: str, model: str) -> str:
    return f"runner-{backend}-{re.sub('[^A-Za-z0-9._-]+', '-', model)[:100]}.log"


def _note(reason: str) -> str:
    return f"safe mode: the backend {reason} when it loaded a model here, and avoids its optional fast paths since"
