"""The step loop. Runs on the engine thread, which alone touches MLX and everything here but the queue of commands.

mlx-lm's `BatchGenerator` (0.32) is not driven, because a request cannot be served through it as it must be here:
its log-probabilities are taken after the logits processors; a processor runs before the token it depends on has been
read, so that a constraint would stall the whole batch; choices cannot share one prefill; and a prompt's chunk has the
same length however slow the machine is. The models and their caches, single and batched, are mlx-lm's own.

A step launches the forward pass of all rows, and only then reads the tokens of the step before, which it overlaps with
the computation. Where the next choice depends on the last token (constraints, penalties), the tokens are read between
the forward pass and the sampling, which costs only what the host needs for a mask.
"""

import copy
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import mlx.core as mx
from msgspec.structs import replace

from aiadmin_core.backend import Broken, Prefilled, StepEvent
from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.model import EngineStats

from ..model import LoadedModel
from ..sampler import Chosen, choose
from . import scheduler
from .batch import DecodeBatch
from .commands import Cancel, Command, Stop, make_job
from .prompt_cache import PromptCache
from .sequence import Job
from .sequence import Sequence as Choice

_CLEAR_EVERY = 256
"""Steps between two returns of MLX's cached buffers to the system: growing contexts leave sizes nobody needs again."""


class EngineLoop:
    """Decodes until told to stop."""

    def __init__(self, model: LoadedModel, commands: "SimpleQueue[Command]") -> None:
        self.jobs: dict[int, Job] = {}
        """Open requests by id."""
        self._model = model
        self._commands = commands
        self._batch = DecodeBatch(model.call)
        self._prompt_cache = PromptCache(model.plan.prompt_cache_bytes)
        self._waiting: list[Job] = []
        self._prefilling: Job | None = None
        self._in_flight: tuple[list[Choice], Chosen] | None = None
        """The last step's rows and tokens, launched and not read."""
        self._tokens_per_s = model.tokens_per_s
        self._events: list[StepEvent] = []
        self._stopping = False
        plan = model.plan
        self._stats = EngineStats(kv_total=plan.n_cells + plan.n_kept)
        """Replaced, never changed: other threads read it."""

    def run(self, sink: Callable[[Sequence[StepEvent]], None]) -> None:
        """Decode until `Stop`; `sink` gets the events of every step.

        An error that nobody foresaw (out of memory, most likely) ends the open requests, and decoding goes on with
        empty caches. It is raised where not one step went well since the last one.
        """
        n_steps_before = -1
        while True:
            try:
                self._take_commands()
                if self._stopping:
                    return
                self._decode()
                self._flush(sink)
                self._prefill()
            except Exception as error:
                if self._stats.n_steps == n_steps_before:
                    raise
                n_steps_before = self._stats.n_steps
                traceback.print_exc(file=sys.stderr)  # the runner's log
                self._start_over(error)
            self._flush(sink)

    def stats(self) -> EngineStats:
        """Counters as they stand. Any thread."""
        stats = self._stats
        return replace(stats, n_waiting=stats.n_waiting + self._commands.qsize())

    def release(self) -> None:
        """Let go of every array."""
        self._batch = DecodeBatch(None)
        self._in_flight = None
        self._prefilling = None
        self._waiting.clear()
        self._prompt_cache.clear()
        self._model.make_caches = list

    def _start_over(self, error: Exception) -> None:
        """End every open request with `error`, and drop the caches: what they hold is in doubt."""
        self._events.extend(Broken(request_id, error) for request_id in self.jobs)
        self.jobs.clear()
        self._waiting.clear()
        self._prefilling = self._in_flight = None
        self._batch = DecodeBatch(self._model.call)
        self._prompt_cache.clear()

    # Commands.

    def _take_commands(self) -> None:
        """Carry out what is queued; sleep only when there is nothing to compute."""
        idle = not (self._batch.sequences or self._prefilling or self._waiting)
        if idle:
            self._in_flight = None
            mx.clear_cache()
            self._publish()
        try:
            while not self._stopping:
                self._carry_out(self._commands.get(block=idle))
                idle = False
        except Empty:
            pass
        self._drop_rows()
        self._waiting = [job for job in self._waiting if job.n_rows]
        if self._prefilling and not self._prefilling.n_rows:
            self._prefilling = None

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Stop):
            self._stopping = True
        elif isinstance(command, Cancel):
            self._cancel(command)
        else:
            try:
                job = make_job(command, self._model)
            except Exception as error:  # what is wrong with a request is its own trouble
                if not isinstance(error, AiAdminError):
                    traceback.print_exc(file=sys.stderr)
                self._events.append(Broken(command.request.id, error))
            else:
                self.jobs[command.request.id] = job
                self._waiting.append(job)

    def _cancel(self, command: Cancel) -> None:
        job = self.jobs.get(command.request_id)
        if job is None:
            return
        for sequence in job.sequences:
            if command.choice in (None, sequence.choice) and not sequence.over:
                sequence.over = True
                self._count(n_cancelled=1)
        self._close_if_over(job)

    def _break(self, job: Job, error: Exception) -> None:
        """End a request with `error`; the others go on."""
        for sequence in job.sequences:
            sequence.over = True
        self._events.append(Broken(job.request.id, error))
        self._close_if_over(job)

    def _close_if_over(self, job: Job) -> None:
        if not job.n_rows:
            self.jobs.pop(job.request.id, None)

    # Decoding.

    def _decode(self) -> None:
        """One step of every row."""
        batch = self._batch
        if any(sequence.n_launched >= sequence.job.request.max_tokens for sequence in batch.sequences):
            self._read()  # these end with what is in flight: do not decode them once more
            self._drop_rows()
        self._make_room()
        if not batch.sequences:
            return
        logits = batch.forward()
        waits = any(sequence.sampler.waits for sequence in batch.sequences)
        if waits:
            mx.async_eval(logits)
            self._read()
        masks = [self._mask(sequence) for sequence in batch.sequences]
        if waits and (rows := [i for i, sequence in enumerate(batch.sequences) if not sequence.over]) != [
            *range(len(masks))
        ]:
            logits, masks = logits[mx.array(rows)] if rows else logits[:0], [masks[row] for row in rows]
            self._drop_rows()
        if not batch.sequences:
            return
        chosen = choose(logits, [sequence.sampler for sequence in batch.sequences], masks)
        mx.async_eval(chosen.arrays)
        batch.inputs = chosen.tokens
        for sequence in batch.sequences:
            sequence.n_launched += 1
        if not waits:
            self._read()
        self._in_flight = (batch.sequences, chosen)
        if self._prefilling or self._waiting:
            self._read()  # else these tokens would wait for the next prompt's chunk
        self._drop_rows()
        if self._stats.n_steps % _CLEAR_EVERY == 0:
            mx.clear_cache()

    def _mask(self, sequence: Choice) -> object:
        matcher = sequence.sampler.matcher
        if matcher is None or sequence.over:
            return None
        try:
            return matcher.mask()
        except Exception as error:  # a constraint's trouble is its request's alone
            self._break(sequence.job, error)
            return None

    def _read(self) -> None:
        """Wait for the tokens in flight and report them."""
        if self._in_flight is None:
            return
        (sequences, chosen), self._in_flight = self._in_flight, None
        n_decoded = 0
        for sequence, (token, logprob, top) in zip(sequences, chosen.read(), strict=True):
            if sequence.over:
                continue
            n_decoded += 1
            try:
                self._events.extend(sequence.accept(token, logprob, top))
            except Exception as error:
                self._break(sequence.job, error)
            self._close_if_over(sequence.job)
        if n_decoded:
            self._count(n_steps=1, n_sequences_decoded=n_decoded, n_completion_tokens=n_decoded)
            self._stats = replace(self._stats, max_batch=max(self._stats.max_batch, n_decoded))

    def _drop_rows(self) -> None:
        """Let sequences that are over leave the batch; what they had is kept for prompts that begin alike."""
        sequences = self._batch.sequences
        rows = [row for row, sequence in enumerate(sequences) if not sequence.over]
        if len(rows) == len(sequences):
            return
        for row, sequence in enumerate(sequences):
            job = sequence.job
            if sequence.over and job.request.n == 1:  # of several, rarely the one that the next turn goes on from
                kept = (*job.prompt, *sequence.tokens)[: sequence.n_cells]
                self._prompt_cache.keep(job.request.cache_salt, kept, self._batch.extract(row))
        self._batch.retain(rows)

    def _make_room(self) -> None:
        """Put the rows that came last back into the queue while the others need their room; they go on where they
        were, from what is kept of them or from a new prefill."""
        n_cells = self._model.plan.n_cells
        while scheduler.overfull([sequence.n_cells for sequence in self._batch.sequences], n_cells=n_cells):
            self._read()
            self._drop_rows()
            if not self._batch.sequences:
                return
            row = len(self._batch.sequences) - 1
            sequence = self._batch.sequences[row]
            tokens = (*sequence.job.prompt, *sequence.tokens)
            kept = self._batch.extract(row)
            self._prompt_cache.keep(sequence.job.request.cache_salt, tokens[: sequence.n_cells], kept)
            self._batch.retain([*range(row)])
            resume = Job(
                request=sequence.job.request,
                prompt=tokens,
                submitted_at=time.perf_counter(),
                sequences=[sequence],
                resumes=True,
            )
            self._waiting.insert(0, resume)

    # Prefill.

    def _prefill(self) -> None:
        """One chunk of the prompt whose turn it is; into the batch with it when that was the last."""
        job = self._prefilling = self._prefilling or self._admit()
        if job is None:
            return
        if job.n_to_prefill:
            try:
                self._prefill_chunk(job)
            except RuntimeError as error:  # MLX's: out of memory, most likely; only this prompt's caches are in doubt
                self._break(self.jobs[job.request.id], error)
                self._prefilling = None
                return
        if not job.n_to_prefill:
            self._prefilling = None
            self._join(job)

    def _admit(self) -> Job | None:
        expected = [sequence.n_expected for sequence in self._batch.sequences]
        n_parallel, n_cells = self._model.n_parallel, self._model.plan.n_cells
        job = scheduler.next_admission(self._waiting, expected, n_parallel=n_parallel, n_cells=n_cells)
        if job is None:
            return None
        self._waiting.remove(job)
        job.admitted_at = time.perf_counter()
        job.n_cached, caches = self._prompt_cache.find(job.request.cache_salt, job.prompt)
        job.n_prefilled = job.n_cached
        job.caches = caches or self._model.make_caches()
        return job

    def _prefill_chunk(self, job: Job) -> None:
        n_tokens = scheduler.chunk_size(
            tokens_per_s=self._tokens_per_s, n_batch=self._model.n_batch, decoding=bool(self._batch.sequences)
        )
        n_tokens = min(n_tokens, job.n_to_prefill)
        chunk = job.prompt[job.n_prefilled : job.n_prefilled + n_tokens]
        started = time.perf_counter()
        self._model.call(mx.array(chunk)[None], cache=job.caches)
        mx.eval([cache.state for cache in job.caches])
        self._tokens_per_s = scheduler.smoothed(
            self._tokens_per_s, n_tokens=n_tokens, seconds=time.perf_counter() - started
        )
        job.n_prefilled += n_tokens

    def _join(self, job: Job) -> None:
        """Put the prompt's choices into the batch, and its prefix where others find it."""
        if job.n_prefilled > job.n_cached:
            self._prompt_cache.keep(job.request.cache_salt, job.prompt[: job.n_prefilled], copy.deepcopy(job.caches))
        now = time.perf_counter()
        alive = [sequence for sequence in job.sequences if not sequence.over]
        for sequence in alive:
            sequence.n_cells = job.n_prefilled
            sequence.started_at = sequence.started_at or now
        self._batch.join(alive, job.caches, job.prompt[-1])
        job.caches = []
        if job.resumes:
            return
        self._count(n_prompt_tokens=len(job.prompt), n_cached_tokens=job.n_cached)
        queue_s, prefill_s = job.admitted_at - job.submitted_at, now - job.admitted_at
        self._events.append(Prefilled(job.request.id, len(job.prompt), job.n_cached, queue_s, prefill_s))

    # What others see.

    def _flush(self, sink: Callable[[Sequence[StepEvent]], None]) -> None:
        if self._events:
            self._publish()
            events, self._events = self._events, []
            sink(events)

    def _publish(self) -> None:
        rows = self._batch.sequences
        n_prefilling = self._prefilling.n_rows if self._prefilling else 0
        n_cells = sum(sequence.n_cells for sequence in rows) + self._prompt_cache.n_tokens
        n_waiting = sum(job.n_rows for job in self._waiting)
        self._stats = replace(self._stats, n_running=len(rows) + n_prefilling, n_waiting=n_waiting, kv_used=n_cells)

    def _count(self, **increments: int) -> None:
        self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in increments.items()})
