"""What llama.cpp's engine thread does between two commands: decodes a step, samples, reports. The only code that
touches the context once it is open."""

import threading
import time

from aiadmin_core.engine_thread import Gauges
from aiadmin_core.jobs import Job, Limits
from aiadmin_core.reports import Reports
from aiadmin_core.steps import PrefillPace

from ..native.batch import Batch
from ..native.context import Context, Interrupted, OutOfCells
from ..native.samplers import SamplerChain, native_seed
from .sampling import sample
from .scheduler import Scheduler, Step
from .sequence import Choice, EndReason, Sequence
from .threads import ThreadGovernor
from .tokens import TokenBuffer


class LlamaStepper:
    """An `aiadmin_core.engine_thread.Stepper` over one context, which it frees in the end."""

    def __init__(
        self, context: Context, scheduler: Scheduler, governor: ThreadGovernor, reports: Reports, *, n_parallel: int
    ) -> None:
        self.limits = Limits(n_ctx=scheduler.kv.n_cells, n_vocab=context.n_vocab, n_parallel=n_parallel)
        self._context = context
        self._scheduler = scheduler
        self._governor = governor
        self._reports = reports
        self._pace = PrefillPace()
        self._batch = Batch(context.n_batch)
        self._lock = threading.Lock()
        self._decoding: set[int] = set()
        """Requests that the step in progress works for. Under `_lock`, like the next two."""
        self._forsaken: set[int] = set()
        """Requests that are going to be cancelled."""
        self._closing = False

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    def gauges(self) -> Gauges:
        scheduler = self._scheduler
        return Gauges(scheduler.n_running, len(scheduler.waiting), scheduler.kv.n_used, scheduler.kv.n_cells)

    def rest(self) -> None:
        """Nothing is held back while idle."""

    def close(self) -> None:
        self.start_over()
        self._context.close()

    # Requests.

    def add(self, job: Job) -> None:
        sampling = job.request.sampling
        choices = [
            Choice(
                index=index,
                sampler=SamplerChain(
                    sampling, self._context, seed=native_seed(sampling.seed, index), recent=job.tokens
                ),
                matcher=job.request.matchers[index] if index < len(job.request.matchers) else None,
            )
            for index in range(job.request.n)
        ]
        self._scheduler.add(Sequence(job, TokenBuffer(job.tokens, spare=min(job.max_tokens, 1024)), choices))

    def forsake(self, request_id: int | None) -> None:
        with self._lock:
            if request_id is None:
                self._closing = True
            else:
                self._forsaken.add(request_id)
            if self._decoding and self._is_in_vain():
                self._context.interrupt(True)

    def _is_in_vain(self) -> bool:
        return self._closing or self._decoding <= self._forsaken

    def cancel(self, request_id: int, choice: int | None = None) -> int:
        if choice is None:
            with self._lock:
                self._forsaken.discard(request_id)
        ended = self._scheduler.cancel(request_id, choice)
        for one in ended:
            one.sampler.close()
        return len(ended)

    def start_over(self) -> None:
        for sequence in self._scheduler.clear():
            for choice in sequence.choices:
                choice.sampler.close()

    # A step.

    def step(self) -> None:
        step = self._scheduler.next_step(now=time.monotonic(), prefill_tokens_per_s=self._pace.tokens_per_s)
        for sequence in step.full:
            self._conclude(sequence, "length")
        if not step.pieces:
            return
        rows = self._fill(step)
        started = time.perf_counter()
        try:
            self._decode(step)
        except Interrupted:
            return
        except OutOfCells:
            if not self._scheduler.relieve():
                raise
            return
        self._measure(step, time.perf_counter() - started)
        now = time.monotonic()
        ready = self._scheduler.commit(step)
        self._reports.stepped(n_sampled=len(ready))
        for index, sequence in ready:
            if sequence.slot is not None:  # its request may have failed with the choice before
                self._advance(sequence, rows[index], now)

    def _decode(self, step: Step) -> None:
        """Raises `Interrupted` where everybody it works for has left meanwhile."""
        with self._lock:
            self._decoding = {piece.sequence.job.request.id for piece in step.pieces}
            self._context.interrupt(self._is_in_vain())
        try:
            self._context.decode(self._batch)
        finally:
            if step.filler.n:
                self._context.remove(self._context.companion)
            with self._lock:
                self._decoding = set()

    def _fill(self, step: Step) -> list[int]:
        """Put the step's tokens into the batch. Gives the place of each piece's last one."""
        self._batch.clear()
        rows: list[int] = []
        for piece in step.pieces:
            slot = piece.sequence.slot
            assert slot is not None
            tokens = piece.sequence.tokens.view(slot.n, slot.n + piece.n)
            rows.append(self._batch.add(slot.id, tokens, slot.n, rows=piece.rows) + piece.n - 1)
        self._context.fill(self._batch, *step.filler)
        return rows

    def _advance(self, sequence: Sequence, row: int, now: float) -> None:
        """Sample the next token of a sequence that has all its tokens in the cache."""
        job, choice = sequence.job, sequence.choices[0]
        if not job.prefilled_at:
            self._reports.prefilled(job, now=now)
        try:
            sampled = sample(job, choice, row, self._context.logits)
            if sampled.token in job.request.end_tokens:
                self._conclude(sequence, "stop", token=sampled.token)
                return
            if choice.matcher is not None:
                choice.matcher.commit(sampled.token)
        except Exception as error:
            self.cancel(job.request.id)
            self._reports.broken(job.request.id, error)
            return
        self._reports.sampled(sampled)
        if choice.n_sampled >= job.max_tokens:
            self._conclude(sequence, "length")
        else:
            sequence.tokens.append(sampled.token)

    def _conclude(self, sequence: Sequence, reason: EndReason, *, token: int | None = None) -> None:
        """The sequence's choice is complete: report it, and give up its place."""
        choice = sequence.choices[0]
        self._reports.ended(sequence.job, choice.index, reason, n_tokens=choice.n_sampled, token=token)
        choice.sampler.close()
        if sequence.slot is not None:
            self._scheduler.finish(sequence)

    def _measure(self, step: Step, seconds: float) -> None:
        n_tokens = self._batch.n_tokens
        if n_tokens == len(step.pieces) + step.filler.n:
            n_threads = self._governor.observe(n_tokens=n_tokens, seconds=seconds, now=time.monotonic())
            if n_threads != self._context.n_threads:
                self._context.set_threads(n_threads)
        else:
            self._pace.observe(n_tokens=n_tokens, seconds=seconds)
