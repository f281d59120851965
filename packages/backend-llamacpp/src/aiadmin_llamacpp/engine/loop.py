"""The engine thread: takes commands, decodes a step, samples, reports. The only thread that touches the context."""

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from aiadmin_core.backend import Broken, Ended, Prefilled, StepEvent, TokenRequest
from aiadmin_core.errors import AiAdminError, EngineStopped
from aiadmin_core.specs.model import EngineStats

from ..native.batch import Batch
from ..native.context import Context, OutOfCells
from ..native.samplers import SamplerChain, native_seed
from . import sequence as states
from .admission import check
from .sampling import sample
from .scheduler import Scheduler, Step
from .threads import ThreadGovernor
from .tokens import TokenBuffer

Sink = Callable[[Sequence[StepEvent]], None]


@dataclass(frozen=True, slots=True)
class Submit:
    request: TokenRequest
    at: float


@dataclass(frozen=True, slots=True)
class Cancel:
    request_id: int
    choice: int | None


@dataclass(frozen=True, slots=True)
class Close:
    pass


Command = Submit | Cancel | Close


@dataclass(slots=True)
class Counters:
    """Written by the engine thread, read by any; see `EngineStats`."""

    n_arrived: int = 0
    n_steps: int = 0
    n_sequences_decoded: int = 0
    max_batch: int = 0
    n_prompt_tokens: int = 0
    n_cached_tokens: int = 0
    n_completion_tokens: int = 0
    n_cancelled: int = 0


class EngineLoop:
    """Decodes until it is closed.

    Other threads call `submit` and `stats`, and put `Cancel` and `Close` on `commands`.
    """

    def __init__(
        self, context: Context, scheduler: Scheduler, governor: ThreadGovernor, *, n_parallel: int, sink: Sink
    ) -> None:
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._context = context
        self._scheduler = scheduler
        self._governor = governor
        self._n_parallel = n_parallel
        self._sink = sink
        self._batch = Batch(context.n_batch)
        self._companion = np.zeros(1, np.int32)
        self._events: list[StepEvent] = []
        self._counters = Counters()
        self._prefill_tokens_per_s = 0.0
        self._closing = False
        self._lock = threading.Lock()
        self._stopped: EngineStopped | None = None
        """Why nothing can be submitted any more. Under `_lock`, so that no request is queued behind the end."""
        self._died = False

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Any thread. Raises `EngineStopped` once nothing is decoded any more."""
        with self._lock:
            if self._stopped is not None:
                raise self._stopped
            self.commands.put(Submit(request, time.monotonic()))

    def run(self) -> None:
        """The thread's body. However it ends, nobody is left waiting for an event that will not come."""
        why = EngineStopped("The engine was closed.", hint="Send the request again.")
        try:
            self._decode_until_closed()
        except BaseException as error:  # the library's, which is broken for good, or a mistake of ours
            traceback.print_exc(file=sys.stderr)  # the runner's log
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            why = EngineStopped(f"The engine thread died: {reason}", hint="Send the request again.")
            self._died = True
        with self._lock:
            self._stopped = why
        self._fail_all(why)
        while not self.commands.empty():
            if isinstance(command := self.commands.get(), Submit):
                self._events.append(Broken(command.request.id, why))
        self._report()

    def _decode_until_closed(self) -> None:
        """An error that nobody foresaw ends the requests it met, and decoding goes on with an empty cache. It is raised
        where not one step went well since the last one."""
        n_steps_before = -1
        while not self._closing:
            try:
                self._take_commands(block=not self._scheduler.has_work)  # sleep only when nothing can be decoded
                if self._scheduler.has_work and not self._closing:
                    self._step()
            except Exception as error:
                if self._counters.n_steps == n_steps_before:
                    raise
                n_steps_before = self._counters.n_steps
                traceback.print_exc(file=sys.stderr)
                self._fail_all(error)
            self._report()

    def stats(self) -> EngineStats:
        """Counters as they stand. Any thread: each number is right, though not all of the same step.

        Raises `EngineStopped` where the thread has died.
        """
        if self._died and self._stopped is not None:
            raise self._stopped
        counters, scheduler = self._counters, self._scheduler
        return EngineStats(
            n_running=scheduler.n_running,
            n_waiting=len(scheduler.waiting) + self.commands.qsize(),
            n_steps=counters.n_steps,
            n_sequences_decoded=counters.n_sequences_decoded,
            max_batch=counters.max_batch,
            n_prompt_tokens=counters.n_prompt_tokens,
            n_cached_tokens=counters.n_cached_tokens,
            n_completion_tokens=counters.n_completion_tokens,
            kv_used=scheduler.kv.n_used,
            kv_total=scheduler.kv.n_cells,
            n_cancelled=counters.n_cancelled,
        )

    def _report(self) -> None:
        if self._events:
            events, self._events = self._events, []
            self._sink(events)

    # Commands.

    def _take_commands(self, *, block: bool) -> None:
        while True:
            try:
                command = self.commands.get(block=block)
            except queue.Empty:
                return
            block = False
            match command:
                case Submit(request, at):
                    self._accept(request, at)
                case Cancel(request_id, choice):
                    self._counters.n_cancelled += self._cancel(request_id, choice)
                case Close():
                    self._closing = True
                case _:
                    assert_never(command)

    def _accept(self, request: TokenRequest, at: float) -> None:
        try:
            self._scheduler.add(self._sequence(request, at))
        except Exception as error:  # what is wrong with a request is its own trouble
            if not isinstance(error, AiAdminError):
                traceback.print_exc(file=sys.stderr)
            self._events.append(Broken(request.id, error))

    def _sequence(self, request: TokenRequest, at: float) -> states.Sequence:
        """Raises `BadRequest`."""
        n_ctx, n_vocab = self._scheduler.kv.n_cells, self._context.n_vocab
        tokens = check(request, n_ctx=n_ctx, n_vocab=n_vocab, n_parallel=self._n_parallel)
        self._counters.n_arrived += 1
        job = states.Job(
            request=request,
            n_prompt=len(tokens),
            max_tokens=min(request.max_tokens, n_ctx - len(tokens)),
            arrival=self._counters.n_arrived,
            submitted_at=at,
        )
        choices = [
            states.Choice(
                index=index,
                sampler=SamplerChain(
                    request.sampling,
                    self._context,
                    seed=native_seed(request.sampling.seed, index),
                    recent=tokens,
                ),
                matcher=request.matchers[index] if index < len(request.matchers) else None,
            )
            for index in range(request.n)
        ]
        return states.Sequence(job, TokenBuffer(tokens, spare=min(job.max_tokens, 1024)), choices)

    def _cancel(self, request_id: int, choice: int | None = None) -> bool:
        """Free the place of a request, or of one of its choices. False if there was none."""
        ended = self._scheduler.cancel(request_id, choice)
        for one in ended:
            one.sampler.close()
        return bool(ended)

    # A step.

    def _step(self) -> None:
        step = self._scheduler.next_step(now=time.monotonic(), prefill_tokens_per_s=self._prefill_tokens_per_s)
        for sequence in step.full:
            self._conclude(sequence, "length")
        if not step.pieces:
            return
        rows = self._fill(step)
        started = time.perf_counter()
        try:
            self._decode(step)
        except OutOfCells:
            if not self._scheduler.relieve():
                raise
            return
        self._measure(step, time.perf_counter() - started)
        now = time.monotonic()
        ready = self._scheduler.commit(step)
        self._count(n_sampled=len(ready))
        for index, sequence in ready:
            if sequence.slot is not None:  # its request may have failed with the choice before
                self._advance(sequence, rows[index], now)

    def _decode(self, step: Step) -> None:
        if not step.needs_companion:
            self._context.decode(self._batch)
            return
        self._batch.add(self._context.companion, self._companion, 0, wants_logits=False)
        try:
            self._context.decode(self._batch)
        finally:
            self._context.remove(self._context.companion)

    def _fill(self, step: Step) -> list[int]:
        """Put the step's tokens into the batch. Gives the row of each piece's last token."""
        self._batch.clear()
        rows: list[int] = []
        for piece in step.pieces:
            slot = piece.sequence.slot
            assert slot is not None
            tokens = piece.sequence.tokens.view(slot.n, slot.n + piece.n)
            rows.append(self._batch.add(slot.id, tokens, slot.n, wants_logits=piece.wants_logits))
        return rows

    def _advance(self, sequence: states.Sequence, row: int, now: float) -> None:
        """Sample the next token of a sequence that has all its tokens in the cache."""
        job, choice = sequence.job, sequence.choices[0]
        if not job.prefilled_at:
            self._prefilled(job, now)
        try:
            sampled = sample(job, choice, row, self._context.logits)
            if sampled.token in job.request.end_tokens:
                self._conclude(sequence, "stop")
                return
            if choice.matcher is not None:
                choice.matcher.commit(sampled.token)
        except Exception as error:
            if not isinstance(error, AiAdminError):
                traceback.print_exc(file=sys.stderr)
            self._cancel(job.request.id)
            self._events.append(Broken(job.request.id, error))
            return
        self._events.append(sampled)
        if choice.n_sampled >= job.max_tokens:
            self._conclude(sequence, "length")
        else:
            sequence.tokens.append(sampled.token)

    def _prefilled(self, job: states.Job, now: float) -> None:
        job.prefilled_at = now
        queue_s, prefill_s = job.admitted_at - job.submitted_at, now - job.admitted_at
        self._events.append(Prefilled(job.request.id, job.n_prompt, job.n_cached, queue_s, prefill_s))
        self._counters.n_prompt_tokens += job.n_prompt
        self._counters.n_cached_tokens += job.n_cached

    def _conclude(self, sequence: states.Sequence, reason: states.EndReason) -> None:
        """The sequence's choice is complete: report it, and give up its place."""
        job, choice = sequence.job, sequence.choices[0]
        decode_s = time.monotonic() - job.prefilled_at
        self._events.append(Ended(job.request.id, choice.index, reason, decode_s, choice.n_sampled))
        choice.sampler.close()
        if sequence.slot is not None:
            self._scheduler.finish(sequence)

    def _fail_all(self, error: Exception) -> None:
        sequences = self._scheduler.clear()
        for sequence in sequences:
            for choice in sequence.choices:
                choice.sampler.close()
        for request_id in dict.fromkeys(sequence.job.request.id for sequence in sequences):
            self._events.append(Broken(request_id, error))

    # Measuring.

    def _measure(self, step: Step, seconds: float) -> None:
        n_tokens = self._batch.n_tokens
        if n_tokens == len(step.pieces) + step.needs_companion:
            n_threads = self._governor.observe(n_tokens=n_tokens, seconds=seconds, now=time.monotonic())
            if n_threads != self._context.n_threads:
                self._context.set_threads(n_threads)
        else:
            speed = n_tokens / max(seconds, 1e-6)
            before = self._prefill_tokens_per_s or speed
            self._prefill_tokens_per_s = 0.7 * before + 0.3 * speed

    def _count(self, n_sampled: int) -> None:
        counters = self._counters
        counters.n_steps += 1
        counters.n_sequences_decoded += n_sampled
        counters.max_batch = max(counters.max_batch, n_sampled)
        counters.n_completion_tokens += n_sampled
