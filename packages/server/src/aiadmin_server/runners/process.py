"""One runner's process, from its start to its end. Made by `supervisor`, once for each start.

stopped -> starting -> ready -> stopping -> stopped
              |          |
              +----------+----> failed
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil

from aiadmin_core.errors import AiAdminError, ModelLoadFailed, RunnerDied
from aiadmin_core.runner import frames, transport
from aiadmin_core.runner.client import RemoteEngine, greet
from aiadmin_core.runner.messages import Hello, Launch, Reply
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelSpec

from . import exits, vitals
from .control_groups import ControlGroup, bounded, control_groups
from .cores import Cores
from .environment import runner_environment
from .log import RunnerLog

State = Literal["stopped", "starting", "ready", "stopping", "failed"]

LOG_SAYS = "The runner's log has its last lines: `aiadmin doctor` says where it is."
"""What clients are told instead of them: they may hold the text of others' requests."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a runner may take to end, in seconds."""

    shutdown_s: float = 3.0
    """When it is told to; then it is killed."""
    exit_s: float = 5.0
    """Once its connection has ended."""
    confirm_s: float = 3.0
    """For one more heartbeat, where it seems silent."""
    last_words_s: float = 1.0
    """Until its standard error ends, after its exit: a child of its own may hold the pipe open."""


class DiedLoading(Exception):
    """The process ended before its model was loaded."""

    def __init__(self, status: int, account: str, *, said_no_memory: bool) -> None:
        super().__init__(account)
        self.status = status
        self.said_no_memory = said_no_memory
        self.account = account
        """A sentence: who died, how, and its last words."""


class RunnerProcess:
    """Used from one event loop. `engine` is there from `start` on."""

    engine: RemoteEngine

    def __init__(
        self,
        *,
        plugin: str,
        backend: str,
        model: ModelSpec,
        options: EngineOptions,
        load_timeout_s: float,
        memory_bytes: int = 0,
        dialects: tuple[str, ...] = (),
        log_path: Path | None = None,
        limits: vitals.Limits | None = None,
        patience: Patience = Patience(),
        cores: Cores | None = None,
    ) -> None:
        self.state: State = "stopped"
        self.notes: tuple[str, ...] = ()
        self.log = RunnerLog(log_path)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The exit status, when the process has ended and its last words are read."""
        self._plugin = plugin
        self._backend = backend
        self._model = model
        self._options = options
        self._dialects = dialects
        self._load_timeout_s = load_timeout_s
        self._memory_bytes = memory_bytes
        self._limits = limits or vitals.Limits()
        self._patience = patience
        self._cores = cores or Cores()
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._vitals = vitals.first(time.monotonic())
        self._memory_when_loaded = 0
        self._group: ControlGroup | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self.outgrown: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, once it is to be replaced when its requests are answered."""
        self._ended_because = ""
        """" because ...": why we ended it, where we did."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def memory_bytes(self) -> int:
        """Resident, as the system sees it; 0 where there is no process."""
        return self._resident_bytes() if self._process is not None and not self.ended.done() else 0

    @property
    def is_usable(self) -> bool:
        """Whether requests may be sent to it. Where it is not, `ended` follows within seconds."""
        return self.state == "ready" and not self.engine.ended

    def trouble(self) -> str | None:
        """What seems wrong with it: as long as it is too large, or while it has requests to answer."""
        if self.outgrown.done():
            return self.outgrown.result()
        if self.state != "ready" or not self.engine.n_open:
            return None
        return vitals.trouble(self._vitals, self._limits, time.monotonic())

    async def start(self) -> None:
        """Start the process and wait until its model is loaded. When this raises, the process is gone.

        Raises `DiedLoading`, or the `AiAdminError` that opening the model raised.
        """
        self.state = "starting"
        try:
            async with transport.listen(frames.REPLIES) as listener:
                await self._spawn(listener)
                connection, hello = await self._loaded(listener)
        except BaseException:
            await self._kill()
            self.state = "failed"
            raise
        self.state = "ready"
        self._vitals = vitals.first(time.monotonic())
        self._memory_when_loaded = self._resident_bytes()
        self.engine = RemoteEngine(
            connection, hello, explain=self._explain, on_heartbeat=self._on_heartbeat, on_work=self._on_work
        )
        self._set_alarm(self._limits.silent_s, self._on_silence)

    async def stop(self) -> None:
        """Shut the runner down; kill it if it does not go. It would not listen to SIGTERM, which a process group gets
        while the server still answers."""
        if self.ended.done() or self._process is None:
            return
        if self.state == "stopping":
            await asyncio.wait({self.ended}, timeout=self._patience.shutdown_s)
        elif self.state == "ready":
            self.state = "stopping"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience.shutdown_s):
                    await self.engine.close()
                    await asyncio.shield(self.ended)
        await self._kill()

    async def _spawn(self, listener: transport.Listener[Reply]) -> None:
        launch = Launch(
            address=listener.address,
            secret=listener.secret,
            plugin=self._plugin,
            backend=self._backend,
            model=self._model,
            options=self._options,
            dialects=self._dialects,
            memory_bytes=self._memory_bytes,
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a module in the folder the server was started in must not stand in for a library
                "-m",
                "aiadmin_core.runner",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=runner_environment(os.environ),
            )
        except OSError as error:
            raise ModelLoadFailed(
                f"No process can be started for {self._model.name}: {error.strerror or error}.",
                hint="Free memory, or stop other models with `aiadmin stop`.",
            ) from error
        if self._memory_bytes and sys.platform.startswith("linux"):
            mapped = sum(file.size for file in self._model.files)  # pages of files count in a group
            self._group = bounded(self._process.pid, self._memory_bytes + mapped, control_groups())
        self._watching = asyncio.create_task(self._watch(self._process))
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(launch) + b"\n")  # and left open: its end is the server's
        with contextlib.suppress(ConnectionError):  # it has died: `_watch` tells
            await self._process.stdin.drain()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Keep what the process writes until it has ended."""
        reading = asyncio.create_task(self._read(process))
        status = await process.wait()
        try:
            await asyncio.wait({reading}, timeout=self._patience.last_words_s)
            reading.cancel()
            if self._alarm is not None:
                self._alarm.cancel()
            if self.state == "ready":
                logger.error("%s", self._account(exits.how_it_ended(status), with_last_words=True))
        finally:  # whatever cannot be told of it, it has ended
            self.state = "stopped" if self.state == "stopping" else "failed"
            self._cores.forget(self)
            if self._group is not None:
                self._group.remove()
            self.ended.set_result(status)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(64 * 1024):
            self.log.write(data)

    async def _loaded(self, listener: transport.Listener[Reply]) -> tuple[transport.Connection[Reply], Hello]:
        greeting = asyncio.create_task(self._greeted(listener))
        news: set[asyncio.Future[Any]] = {greeting, self.ended}
        try:
            while not greeting.done() and not self.ended.done():
                patience_s = self.log.last_output_at + self._load_timeout_s - time.monotonic()
                if patience_s <= 0:
                    raise ModelLoadFailed(
                        f"{self._model.name} has not loaded: no sign of life for {self._load_timeout_s:g} s.",
                        hint="Set AIADMIN_LOAD_TIMEOUT higher if this machine needs longer.",
                    )
                timeout = min(patience_s, 86400.0)
                await asyncio.wait(news, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if greeting.done():
                with contextlib.suppress(EOFError):
                    connection, hello = greeting.result()
                    if not self.ended.done():
                        return connection, hello
                    connection.abort()
        finally:
            greeting.cancel()
        await asyncio.wait({self.ended}, timeout=self._patience.exit_s)
        await self._kill()
        status = self.ended.result()
        ending = f"{exits.how_it_ended(status)} while loading"  # it has seen nobody's text yet, and may be quoted
        raise DiedLoading(
            status,
            self._account(ending, with_last_words=True),
            said_no_memory=exits.says_no_memory(self.log.lines),
        )

    async def _greeted(self, listener: transport.Listener[Reply]) -> tuple[transport.Connection[Reply], Hello]:
        connection = await listener.accept()
        try:
            return connection, await greet(connection)
        except BaseException:
            connection.abort()
            raise

    async def _explain(self, reason: str) -> AiAdminError:
        """Why the connection has ended. Called by `engine`."""
        if self.state == "stopping":
            return RunnerDied(f"{self._model.name} was unloaded under the request.", hint="Send the request again.")
        if not reason and not self._ended_because:
            await asyncio.wait({self.ended}, timeout=self._patience.exit_s)
            reason = "" if self.ended.done() else " because its connection ended"
        await self._kill()
        if because := self._ended_because or reason:
            return RunnerDied(self._account(f"was ended{because}"), hint=f"{exits.SEND_AGAIN} {LOG_SAYS}")
        status = self.ended.result()
        next_step = exits.after_exit(
            status,
            loading=False,
            safe_mode=self._options.safe_mode,
            said_no_memory=exits.says_no_memory(self.log.lines),
        )
        return RunnerDied(self._account(exits.how_it_ended(status)), hint=f"{next_step.hint} {LOG_SAYS}")

    def _account(self, ending: str, *, with_last_words: bool = False) -> str:
        who = f"The process serving {self._model.name} ({self._backend})"
        if not with_last_words:
            return f"{who} {ending}."
        words = exits.last_words(self.log.lines)
        quoted = f"its last lines: {' | '.join(words)}" if words else "it left no log."
        return f"{who} {ending}; {quoted}"

    async def _kill(self) -> None:
        if self._process is None:
            return
        if not self.ended.done():
            _send_kill(self._process)
        await asyncio.shield(self.ended)

    def _on_work(self, begins: bool) -> None:
        if not begins:
            self._cores.end(self)
        elif "threads" in self.engine.capabilities.protocols:
            self._cores.begin(self, self.engine.use_threads)

    def _on_heartbeat(self, stats: EngineStats) -> None:
        self._vitals = vitals.after_heartbeat(self._vitals, stats, self._limits, time.monotonic())
        self._weigh()
        self._end_if_lost()

    def _weigh(self) -> None:
        try:
            machine = psutil.virtual_memory()
        except OSError:  # this process has all the files open that it may: the next heartbeat comes soon
            return
        self._memory_when_loaded = self._memory_when_loaded or self._resident_bytes()
        memory = vitals.Memory(
            when_loaded=self._memory_when_loaded,
            now=self._resident_bytes(),
            available=machine.available,
            total=machine.total,
        )
        outgrown = vitals.outgrown(memory, self._limits)
        if outgrown is not None and not self.outgrown.done():
            logger.warning("The process serving %s will be replaced: %s", self._model.name, outgrown)
            self.outgrown.set_result(outgrown)

    def _resident_bytes(self) -> int:
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except (psutil.Error, OSError):  # it has just ended, or no file can be opened
            return 0

    def _on_silence(self) -> None:
        """Perhaps this process was asleep, and heartbeats wait to be read: give them time."""
        self._set_alarm(self._patience.confirm_s, self._end_if_lost)

    def _end_if_lost(self) -> None:
        """End a runner that will not answer: its requests fail, the next one starts it afresh."""
        now = time.monotonic()
        if self.state == "ready" and self.engine.n_open and vitals.is_lost(self._vitals, self._limits, now):
            self._ended_because = f" because {vitals.trouble(self._vitals, self._limits, now)}"
            logger.error("Ending the process serving %s%s", self._model.name, self._ended_because)
            _send_kill(self._process)
        else:
            self._set_alarm(self._limits.silent_s, self._on_silence)

    def _set_alarm(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Look again after `delay_s`, unless the runner is heard of before."""
        if self._alarm is not None:
            self._alarm.cancel()
        if not self.ended.done():
            self._alarm = asyncio.get_running_loop().call_later(delay_s, callback)


def _send_kill(process: asyncio.subprocess.Process | None) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
