"""The runner's end: opens one model and answers the server's commands until the connection ends. Called by
`python -m aiadmin_core.runner`.

The engine is opened on a worker thread and the connection is read all the while: when it ends, at any time, so does
the process. What a step of the engine gives, of all requests, leaves in one frame; of engines that give single events,
what becomes available in one turn of the event loop.
"""

import asyncio
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, cast

from .. import __version__
from ..backend import Backend, Engine, SupportsThreads
from ..batches import GeneratesInto
from ..errors import AiAdminError, BadRequest, EngineStopped, NoBackend
from ..plugins import Plugins, load_plugins
from ..specs.events import Event, Finished
from ..specs.request import GenerateRequest
from ..streams import EventStream
from . import calls, failures, frames, transport
from .messages import (
    Cancel,
    Closed,
    Command,
    Events,
    Generate,
    Heartbeat,
    Hello,
    Invoke,
    Launch,
    LoadFailed,
    Returned,
    Shutdown,
    UseThreads,
)
from .opening import open_in_process

HEARTBEAT_S = 2.0
EXIT_GRACE_S = 2.0
"""How long the engine may take to close; then the process ends without it."""
OUTBOX_EVENTS = 512
"""Events of one turn after which whoever makes more has to wait for the next."""


async def run(launch: Launch) -> NoReturn:
    """Connect, load, serve, and end the process, whatever happens."""
    try:
        leave(await _serve(launch))
    except BaseException:
        traceback.print_exc()
        leave(1)


async def _serve(launch: Launch) -> int:
    """Until the connection ends or the engine dies. The exit status."""
    connection = await transport.connect(launch.address, launch.secret, frames.COMMANDS)
    host = Host(connection)
    receiving = asyncio.create_task(host.receive())
    loading = asyncio.create_task(_load(launch))
    await asyncio.wait({receiving, loading}, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        return 0  # told to, or the server is gone: nobody waits for the model
    try:
        engine = loading.result()
    except AiAdminError as error:
        traceback.print_exc()
        connection.send(LoadFailed(message=error.message, hint=error.hint, code=error.code, status=error.status))
        with contextlib.suppress(ConnectionError):
            await connection.drain()
        connection.close()
        await receiving  # until the server has closed its end too: it has read the reason
        return 1
    host.serve(engine, backend=launch.backend)
    await asyncio.wait({receiving, host.died}, return_when=asyncio.FIRST_COMPLETED)
    leave_anyway_after(EXIT_GRACE_S)
    if host.died.done():
        await host.conclude()
        return 1
    await host.close()
    return 0


def leave(status: int) -> NoReturn:
    """End the process without waiting for threads, native ones included."""
    try:
        sys.stderr.flush()
    finally:  # nobody may be there to read it
        os._exit(status)


def leave_anyway_after(seconds: float) -> None:
    """End the process in `seconds`, whatever the event loop does until then."""
    timer = threading.Timer(seconds, leave, (1,))
    timer.daemon = True
    timer.start()


def _check_size(returned: Returned) -> None:
    """Before it shares a turn's write with other replies, which must not fail with it."""
    try:
        frames.encode(returned)
    except frames.FrameTooLarge as error:
        raise BadRequest(f"The answer is too large: {error}.", hint="Ask for less at once.") from None


async def _load(launch: Launch) -> Engine:
    backend, plugins = await asyncio.to_thread(_backend, launch)
    return await open_in_process(backend, launch.model, launch.options, plugins=plugins)


def _backend(launch: Launch) -> tuple[Backend, Plugins]:
    plugins = load_plugins(only=list(dict.fromkeys((*launch.dialects, launch.plugin))))
    backend = plugins.backends().get(launch.backend)
    if backend is not None:
        return backend, plugins
    broken = [plugin.trouble for plugin in plugins.broken if plugin.name == launch.plugin]
    reasons = broken or [f"the plugin offers no backend '{launch.backend}'"]
    todo = "Mend, upgrade or remove it" if broken else "Install it beside the server, as a package"
    raise NoBackend(
        f"The plugin '{launch.plugin}' cannot be used in a runner: {'; '.join(reasons)}.",
        hint=f"{todo}, and start the server again; `aiadmin doctor` lists what is installed.",
    )


class Host:
    """Answers commands. All of it runs on the event loop."""

    def __init__(self, connection: transport.Connection[Command]) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """By request or call id: they are drawn from one counter."""
        self._heartbeat: asyncio.Task[None] | None = None
        self.died: asyncio.Future[None] = self._loop.create_future()
        """Done when the engine is dead for good."""
        self._outbox = EventStream()
        """Events that leave with the next frame."""
        self._emptying: asyncio.Task[None] | None = None
        """Waits until the server reads on."""
        self._replies: list[Returned | Closed] = []
        self._flushing = False
        self._closing = False

    def serve(self, engine: Engine, *, backend: str) -> None:
        """The model is loaded: say so, and answer from now on."""
        self._engine = engine
        self._connection.send(
            Hello(
                software=__version__,
                backend=backend,
                pid=os.getpid(),
                capabilities=engine.capabilities,
                facts=engine.facts,
            )
        )
        self._heartbeat = self._loop.create_task(self._beat())

    async def receive(self) -> None:
        """Take commands until `Shutdown` or the end of the connection."""
        try:
            while (command := await self._connection.receive()) is not None:
                if isinstance(command, Shutdown):
                    return
                self._take(command)
        except frames.FrameError as error:
            print(f"The server's command cannot be read: {error}", file=sys.stderr)  # noqa: T201 - the runner's log
        except Exception:  # a mistake of ours: the process ends, and with it every request
            traceback.print_exc()

    async def close(self) -> None:
        """End every request, then the engine, then the connection. Nothing is sent any more: to the server, the
        requests that were open end with the connection."""
        self._closing = True
        tasks = [*self._tasks.values(), *([self._heartbeat] if self._heartbeat else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.close()
        self._connection.close()

    async def conclude(self) -> None:
        """After the engine's death: let its requests tell their ends, and the server read them. The server starts
        another runner, so nothing else comes of this one."""
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        self._flush()
        self._connection.close()
        await self._connection.ended()

    def _take(self, command: Generate | Cancel | Invoke | UseThreads) -> None:
        if isinstance(command, Cancel):
            if task := self._tasks.get(command.request_id):
                task.cancel()
        elif self._engine is None:
            print("The server sent a command before the model was loaded.", file=sys.stderr)  # noqa: T201 - the log
        elif isinstance(command, UseThreads):
            if "threads" in self._engine.capabilities.protocols:
                cast(SupportsThreads, self._engine).use_threads(max(1, command.n_threads))
        elif isinstance(command, Generate):
            self._start(command.request.id, self._generate(self._engine, command.request))
        else:
            self._start(command.call_id, self._invoke(self._engine, command))

    def _start(self, task_id: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(task_id))

    async def _generate(self, engine: Engine, request: GenerateRequest) -> None:
        try:
            if isinstance(engine, GeneratesInto):
                await engine.generate_into(request, self._send_step)
            else:
                await self._generate_singly(engine, request)
        except Exception as error:
            if not isinstance(error, AiAdminError):
                traceback.print_exc()
            self._outbox.put((failures.failed(request.id, error),))
        finally:
            self._replies.append(Closed(request.id))
            self._flush_soon()

    async def _generate_singly(self, engine: Engine, request: GenerateRequest) -> None:
        async with contextlib.aclosing(engine.generate(request)) as events:
            async for event in events:
                self._outbox.put((event,))
                self._flush_soon()
                if len(self._outbox) >= OUTBOX_EVENTS or self._connection.is_congested:
                    await self._drained()

    def _send_step(self, events: Sequence[Event]) -> None:
        """What a step gave leaves at once. While the server is slow it waits, joined."""
        self._outbox.put(events)
        if not self._connection.is_congested:
            self._flush()
        elif self._emptying is None or self._emptying.done():
            self._emptying = self._loop.create_task(self._empty())

    async def _empty(self) -> None:
        await self._drained()
        self._flush()

    async def _invoke(self, engine: Engine, invoke: Invoke) -> None:
        try:
            returned = Returned(call_id=invoke.call_id, result=await calls.perform(engine, invoke))
            _check_size(returned)
        except (Exception, asyncio.CancelledError) as error:  # cancelled by the server, or by something in the engine
            if not isinstance(error, AiAdminError | asyncio.CancelledError):
                traceback.print_exc()
            returned = Returned(call_id=invoke.call_id, failure=failures.failed(invoke.call_id, error))
        self._replies.append(returned)
        self._flush_soon()

    async def _drained(self) -> None:
        """Let this turn's events leave, and wait while the server is too slow to take them."""
        await asyncio.sleep(0)
        with contextlib.suppress(ConnectionError):  # `receive` sees the end too
            await self._connection.drain()

    def _flush_soon(self) -> None:
        if not self._flushing and not self._closing:
            self._flushing = True
            self._loop.call_soon(self._flush)  # after every task that this turn has woken

    def _flush(self) -> None:
        self._flushing = False
        events = self._outbox.take()
        replies, self._replies = self._replies, []
        if any(isinstance(event, Finished) for event in events):
            self._pulse()  # whoever has an answer finds it counted
        try:
            self._connection.send(*([Events(tuple(events))] if events else []), *replies)
        except Exception:  # one of them is too large, or holds what msgpack cannot: the others shall not fail with it
            self._flush_apart(events)
            self._connection.send(*replies)

    def _flush_apart(self, events: Sequence[Event]) -> None:
        """Send each request's events in a frame of its own; a request whose events cannot be sent has failed."""
        for request_id in dict.fromkeys(event.request_id for event in events):
            try:
                self._connection.send(Events(tuple(event for event in events if event.request_id == request_id)))
            except Exception as error:
                traceback.print_exc()
                if task := self._tasks.get(request_id):
                    task.cancel()
                self._connection.send(Events((failures.failed(request_id, error),)))

    async def _beat(self) -> None:
        while not self.died.done():
            self._pulse()
            await asyncio.sleep(HEARTBEAT_S)

    def _pulse(self) -> None:
        """Send the engine's counters. A dead engine has none: its runner ends, once its requests have."""
        assert self._engine is not None
        try:
            self._connection.send(Heartbeat(stats=self._engine.stats()))
        except EngineStopped as error:
            print(error, file=sys.stderr)  # noqa: T201 - the runner's log
            if not self.died.done():
                self.died.set_result(None)
        except Exception:  # a mistake of the backend's, in numbers that nobody's answer depends on
            traceback.print_exc()
            self._connection.send(Heartbeat())
