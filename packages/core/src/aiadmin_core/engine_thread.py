"""What every engine loop does alike: the thread, the commands it takes between steps, and how it ends.

A backend writes a `Stepper`, which decodes; an `EngineThread` runs it. Everything of the stepper happens on that one
thread, its making and its end included, so that it may own what is bound to a thread.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, assert_never

from .backend import TokenRequest
from .errors import EngineStopped
from .jobs import Job, Limits, make_job
from .reports import Reports, Sink
from .specs.model import EngineStats


class Gauges(NamedTuple):
    """How things stand; see `specs.model.EngineStats`."""

    n_running: int = 0
    n_waiting: int = 0
    kv_used: int = 0
    kv_total: int = 0
    prefix_bytes: int = 0


class Stepper(Protocol):
    """What a backend writes of its engine thread. Reports what happens to the `Reports` it was made with."""

    @property
    def limits(self) -> Limits:
        """What can be asked of it."""

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do."""

    def add(self, job: Job) -> None:
        """Queue a request. What this raises ends that request alone."""

    def cancel(self, request_id: int, choice: int | None) -> int:
        """Free the place of a request, or of one of its choices; gives how many choices that were. 0: unknown."""

    hands_over: bool
    """Whether `step` flushes the reports by itself, of the step before at the latest when it lets go of the interpreter
    to compute: whoever is woken by it then need not wait for the interpreter, which would stop two threads twice."""

    def step(self) -> None:
        """Decode once, and report it. May report nothing (a prompt is still being read)."""

    def forsake(self, request_id: int | None) -> None:
        """Called on any thread, at once: `cancel` of this request will follow, or of None `close`. A step that works
        for nobody else may be broken off."""

    def start_over(self) -> None:
        """A step failed half-way, and every open request has been told: forget them, and whatever is in doubt."""

    def rest(self) -> bool | None:
        """There is nothing to do, and the thread is about to sleep. True: it is called again before, unless a command
        has come meanwhile; so what takes long is done in pieces."""

    def gauges(self) -> Gauges:
        """How things stand after the step."""

    def close(self) -> None:
        """Free what the thread owns. The last call."""


S = TypeVar("S", bound=Stepper)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Submit:
    request: TokenRequest
    at: float


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: int
    choice: int | None


@dataclass(frozen=True, slots=True)
class _Call:
    work: Callable[[], Any]
    result: "Future[Any]"


@dataclass(frozen=True, slots=True)
class _Close:
    pass


_Command = _Submit | _Cancel | _Call | _Close


class EngineThread(Generic[S]):
    """Decodes until it is closed. Every method may be called on any thread, and none but `close` waits for a step."""

    def __init__(self, name: str, make: Callable[[Reports], S]) -> None:
        """Start the thread, and wait until `make` has made its stepper there. Raises what `make` raises."""
        self._commands: SimpleQueue[_Command] = SimpleQueue()
        self._reports = Reports()
        self._counters = self._reports.counters
        self._gauges = Gauges()
        self._n_arrived = 0
        self._closing = False
        self._lock = threading.Lock()
        self._stopped: EngineStopped | None = None
        """Why nothing can be submitted any more. Under `_lock`, so that no request is queued behind the end."""
        self._died = False
        self._sink: Future[Sink | None] = Future()
        made: Future[S] = Future()
        # A daemon: a server that is being killed does not wait for the step in progress.
        self._thread = threading.Thread(target=self._run, args=(make, made), name=name, daemon=True)
        self._thread.start()
        self.stepper = made.result()

    def start(self, sink: Sink) -> None:
        """Begin to decode. `sink` is called on the engine thread, about once a step; it must return at once."""
        self._sink.set_result(sink)

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Raises `EngineStopped` once nothing is decoded any more; what is wrong with the request
        itself arrives as `Broken`."""
        self._put(_Submit(request, time.monotonic()))

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request, or of one of its choices, before the next step."""
        self._commands.put(_Cancel(request_id, choice))
        if choice is None:
            self.stepper.forsake(request_id)

    def call(self, work: Callable[[], Result]) -> "Future[Result]":
        """Run `work` on the engine thread between two steps. What it raises is the future's, and harms no request.

        Raises `EngineStopped` like `submit`; the future does where the engine ends first.
        """
        result: Future[Result] = Future()
        self._put(_Call(work, result))
        return result

    def stats(self) -> EngineStats:
        """Counters as they stand: each number is right, though not all of the same step.

        Raises `EngineStopped` where the thread has died.
        """
        if self._died and self._stopped is not None:
            raise self._stopped
        counters, gauges = self._counters, self._gauges
        return EngineStats(
            n_running=gauges.n_running,
            n_waiting=gauges.n_waiting + self._commands.qsize(),
            n_steps=counters.n_steps,
            n_sequences_decoded=counters.n_sequences_decoded,
            max_batch=counters.max_batch,
            n_prompt_tokens=counters.n_prompt_tokens,
            n_cached_tokens=counters.n_cached_tokens,
            n_completion_tokens=counters.n_completion_tokens,
            kv_used=gauges.kv_used,
            kv_total=gauges.kv_total,
            prefix_bytes=gauges.prefix_bytes,
            n_cancelled=counters.n_cancelled,
            n_drafted=counters.n_drafted,
            n_accepted=counters.n_accepted,
        )

    def close(self) -> None:
        """End every request with an error, and join the thread after the step in progress."""
        self._stop(EngineStopped("The model is being unloaded.", hint="Ask again to load it anew."))
        if not self._sink.done():
            self._sink.set_result(None)
        self._commands.put(_Close())
        self.stepper.forsake(None)
        self._thread.join()

    def _put(self, command: _Command) -> None:
        with self._lock:
            if self._stopped is not None:
                raise self._stopped
            self._commands.put(command)

    def _stop(self, why: EngineStopped) -> EngineStopped:
        with self._lock:
            self._stopped = self._stopped or why
            return self._stopped

    # On the engine thread.

    def _run(self, make: Callable[[Reports], S], made: "Future[S]") -> None:
        try:
            stepper = make(self._reports)
            self._gauges = stepper.gauges()
        except BaseException as error:  # whatever it is, it is raised where the engine was asked for
            made.set_exception(error)
            return
        made.set_result(stepper)
        try:
            if (sink := self._sink.result()) is not None:
                self._reports.sink = sink
                self._reports.before_flush = lambda: self._publish(stepper)
                self._decode_until_the_end(stepper)
        finally:
            stepper.close()

    def _decode_until_the_end(self, stepper: S) -> None:
        """However it comes, nobody is left waiting for an event that will not."""
        why = EngineStopped("The engine has stopped.", hint="Send the request again.")
        try:
            self._decode_until_closed(stepper)
        except BaseException as error:  # the library's, which is broken for good, or a mistake of ours
            traceback.print_exc(file=sys.stderr)  # the runner's log
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            why = EngineStopped(f"The engine thread died: {reason}", hint="Send the request again.")
            self._died = True
        why = self._stop(why)
        while not self._commands.empty():
            match self._commands.get():
                case _Submit(request, _):
                    self._reports.open(request)
                case _Call(_, result) if result.set_running_or_notify_cancel():
                    result.set_exception(why)
        self._reports.all_broken(why)
        self._reports.before_flush = lambda: None  # the stepper may be in any state
        self._reports.flush()

    def _decode_until_closed(self, stepper: S) -> None:
        """An error that nobody foresaw ends the requests it met, and decoding goes on from a clean state. It is raised
        where not one step went well since the last one."""
        n_steps_before = -1
        while not self._closing:
            try:
                self._take_commands(stepper)
                if stepper.has_work and not self._closing:
                    stepper.step()
            except Exception as error:
                if self._counters.n_steps == n_steps_before:
                    raise
                n_steps_before = self._counters.n_steps
                traceback.print_exc(file=sys.stderr)
                self._reports.all_broken(error)
                stepper.start_over()
            if not (stepper.hands_over and stepper.has_work) or self._closing:
                self._reports.flush()
            self._publish(stepper)

    def _take_commands(self, stepper: S) -> None:
        """Carry out what is queued; sleep only when nothing can be decoded."""
        sleeps = not stepper.has_work
        if sleeps:
            sleeps = not stepper.rest()
            self._publish(stepper)
        try:
            while not self._closing:
                self._carry_out(stepper, self._commands.get(block=sleeps))
                sleeps = False
        except Empty:
            return

    def _carry_out(self, stepper: S, command: _Command) -> None:
        match command:
            case _Submit(request, at):
                self._accept(stepper, request, at)
            case _Cancel(request_id, choice):
                if n_choices := stepper.cancel(request_id, choice):
                    self._reports.cancelled(request_id, None if choice is None else n_choices)
            case _Call(work, result):
                if result.set_running_or_notify_cancel():
                    try:
                        result.set_result(work())
                    except BaseException as error:  # the caller's
                        result.set_exception(error)
            case _Close():
                self._closing = True
            case _:
                assert_never(command)

    def _accept(self, stepper: S, request: TokenRequest, at: float) -> None:
        self._reports.open(request)
        try:
            self._n_arrived += 1
            stepper.add(make_job(request, stepper.limits, arrival=self._n_arrived, submitted_at=at))
        except Exception as error:  # what is wrong with a request is its own trouble
            self._reports.broken(request.id, error)

    def _publish(self, stepper: S) -> None:
        self._gauges = stepper.gauges()
