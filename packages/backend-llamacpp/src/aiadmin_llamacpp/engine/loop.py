"""What llama.cpp's engine thread does between two commands: decodes a step, samples, reports. The only code that
touches the context once it is open."""

import threading
import time

from aiadmin_core.backend import Sampled
from aiadmin_core.engine_thread import Gauges
from aiadmin_core.jobs import Job, Limits
from aiadmin_core.reports import Reports
from aiadmin_core.sampling.choice import ChoiceSampler
from aiadmin_core.sampling.logprobs import likelihoods
from aiadmin_core.sampling.rows import checked_mask
from aiadmin_core.sampling.step import Chosen, Pick, StepSampler
from aiadmin_core.steps import PrefillPace

from ..native import team
from ..native.adapters import Adapters
from ..native.batch import Batch
from ..native.context import Context, Interrupted, OutOfCells
from .long_prompts import SEQUENCE, LongPrompts
from .scheduler import Scheduler, Step
from .sequence import Choice, EndReason, Sequence
from .threads import Crew, ThreadGovernor, size_of
from .tokens import TokenBuffer
from .turns import State

CLOSE_S = 1.0
"""How long closing may take for keeping what was computed: a runner leaves within two seconds."""


class LlamaStepper:
    """An `aiadmin_core.engine_thread.Stepper` over one context, which it frees in the end."""

    hands_over = True

    def __init__(
        self,
        context: Context,
        scheduler: Scheduler,
        governor: ThreadGovernor,
        crew: Crew,
        reports: Reports,
        adapters: Adapters,
        *,
        n_parallel: int,
        long_prompts: LongPrompts | None = None,
    ) -> None:
        """`long_prompts`: where the scheduler reads some apart."""
        self.limits = Limits(
            n_ctx=scheduler.kv.n_cells, n_vocab=context.n_vocab, n_parallel=n_parallel, adapters=adapters
        )
        self._context = self._at = context
        """The second: where the step in progress is decoded. Under `_lock`."""
        self._long_prompts = long_prompts
        self._adapters = adapters
        self._applied: State = ()
        self._scheduler = scheduler
        self._governor = governor
        self._crew = crew
        crew.join(lambda: scheduler.has_work)
        self._reports = reports
        self._pace = PrefillPace()
        self._sampler = StepSampler(context.n_vocab)
        self._batch = Batch(context.n_batch)
        self._lock = threading.Lock()
        self._decoding: set[int] = set()
        """Requests that the step in progress works for. Under `_lock`, like the next two."""
        self._forsaken: set[int] = set()
        """Requests that are going to be cancelled."""
        self._closing = False
        self._sound = True
        """Whether the context holds what the books say."""

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    def gauges(self) -> Gauges:
        scheduler = self._scheduler
        return Gauges(scheduler.n_running, len(scheduler.waiting), scheduler.kv.n_used, scheduler.kv.n_cells)

    def rest(self) -> None:
        self._scheduler.rest()
        if self._long_prompts is not None:
            self._long_prompts.close()
        team.dismiss()

    def close(self) -> None:
        self._context.interrupt(False)
        if self._sound:
            self._scheduler.close(within_s=CLOSE_S)
        self.start_over()
        self._context.close()

    # Requests.

    def add(self, job: Job) -> None:
        request = job.request
        drafters = self._scheduler.drafters(job)
        choices = [
            Choice(
                index=index,
                sampler=ChoiceSampler(request.sampling, choice=index, prompt=job.tokens, breakers=request.breakers),
                matcher=request.matchers[index] if index < len(request.matchers) else None,
                drafter=drafters[index],
            )
            for index in range(request.n)
        ]
        self._scheduler.add(Sequence(job, TokenBuffer(job.tokens, spare=min(job.max_tokens, 1024)), choices))

    def forsake(self, request_id: int | None) -> None:
        with self._lock:
            if request_id is None:
                self._closing = True
            else:
                self._forsaken.add(request_id)
            if self._decoding and self._is_in_vain():
                self._at.interrupt(True)

    def _is_in_vain(self) -> bool:
        return self._closing or self._decoding <= self._forsaken

    def cancel(self, request_id: int, choice: int | None = None) -> int:
        if choice is None:
            with self._lock:
                self._forsaken.discard(request_id)
        return len(self._scheduler.cancel(request_id, choice))

    def start_over(self) -> None:
        self._scheduler.clear()
        if self._long_prompts is not None:
            self._long_prompts.close()

    # A step.

    def step(self) -> None:
        step = self._scheduler.next_step(now=time.monotonic(), prefill_tokens_per_s=self._pace.tokens_per_s)
        for sequence in step.full:
            self._conclude(sequence, "length")
        if not step.pieces:
            self._reports.flush()
            return
        context = self._context_of(step)
        if context is None:
            self._scheduler.abandon(step)
            return
        self._apply(step.adapters)
        rows = self._fill(step)
        size = size_of(self._batch.n_tokens, sum(piece.sequence.slot.n for piece in step.pieces if piece.sequence.slot))
        now = time.monotonic()
        self._governor.limit(self._crew.share(now))
        context.set_threads(self._governor.choose(size, now=now))
        started = time.perf_counter()
        self._sound = False
        try:
            self._decode(step, context)
        except Interrupted:
            self._sound = True
            self._scheduler.abandon(step)
            return
        except OutOfCells:
            self._sound = True
            self._scheduler.abandon(step)
            if not self._scheduler.relieve():
                raise
            return
        seconds = time.perf_counter() - started
        self._governor.observe(size, seconds)
        if step.apart and not self._take_over(step):
            self._sound = True
            return
        if step.reads_prompts:
            self._pace.observe(n_tokens=self._batch.n_tokens, seconds=seconds)
        now = time.monotonic()
        self._score(step, rows)
        ready = self._scheduler.commit(step)
        self._sound = True
        self._reports.stepped(n_sampled=sum(sequence.job.max_tokens > 0 for _, sequence in ready))
        n_accepted = self._reports.counters.n_accepted
        self._reports.drafted(sum(sequence.n_drafted for _, sequence in ready))
        self._sample([(rows[index] - sequence.n_drafted, sequence) for index, sequence in ready], now)
        if not step.reads_prompts:
            n_accepted = self._reports.counters.n_accepted - n_accepted
            self._scheduler.took(step, n_accepted=n_accepted, seconds=time.perf_counter() - started)

    def _context_of(self, step: Step) -> Context | None:
        """Where to decode it. None where a long prompt cannot be read apart, nor will it be."""
        if not step.apart:
            return self._context
        (piece,) = step.pieces
        assert self._long_prompts is not None
        assert piece.sequence.slot is not None
        context = self._long_prompts.prepare(piece.sequence.slot)
        piece.sequence.long = context is not None
        return context

    def _take_over(self, step: Step) -> bool:
        """Put what was read apart into its slot. False where this build writes states of another form: no prompt will
        be read apart."""
        (piece,) = step.pieces
        assert self._long_prompts is not None
        if self._long_prompts.hand_over(piece.n, hold=self._scheduler.kv.keeps_order):
            return True
        self._scheduler.reads_apart = False
        self._scheduler.abandon(step)
        return False

    def _decode(self, step: Step, context: Context) -> None:
        """Raises `Interrupted` where everybody it works for has left meanwhile."""
        with self._lock:
            self._at = context
            self._decoding = {piece.sequence.job.request.id for piece in step.pieces}
            context.interrupt(self._is_in_vain())
        if step.reads_prompts:
            self._reports.flush()
        else:
            self._reports.flush_before_a_token()
        try:
            context.decode(self._batch)
        finally:
            if step.filler.n:
                self._context.remove(self._context.companion)
            with self._lock:
                self._decoding = set()

    def _apply(self, state: State) -> None:
        """Decode with these adapters."""
        if state != self._applied:
            self._adapters.apply(self._context.handle, state)
            self._applied = state

    def _fill(self, step: Step) -> list[int]:
        """Put the step's tokens into the batch. Gives the row of logits that each piece's last one will have."""
        self._batch.clear()
        rows: list[int] = []
        n_rows = 0
        for piece in step.pieces:
            slot = piece.sequence.slot
            assert slot is not None
            tokens = piece.sequence.tokens.view(slot.n, slot.n + piece.n)
            self._batch.add(SEQUENCE if step.apart else slot.id, tokens, slot.n, rows=piece.rows)
            n_rows += len(piece.rows)
            rows.append(n_rows - 1)
        self._context.fill(self._batch, *step.filler)
        return rows

    def _score(self, step: Step, rows: list[int]) -> None:
        """Report how likely the tokens of prompts are, where that was asked for. `rows` are each piece's last ones."""
        for piece, last in zip(step.pieces, rows, strict=True):
            job = piece.sequence.job
            n = min(len(piece.rows), job.n_to_score - job.n_scored)
            if n > 0:
                first = last + 1 - len(piece.rows)
                following = job.tokens[job.n_scored + 1 : job.n_scored + 1 + n]
                logits = self._context.logits(first + n)[first:]
                found = likelihoods(logits, following, job.request.sampling.logprobs or 0)
                self._scheduler.scored(piece.sequence, found)
            self._reports.scores(job)

    def _sample(self, ready: list[tuple[int, Sequence]], now: float) -> None:
        """Choose the next token of each sequence that has all its tokens in the cache, from its row of the logits.
        Where it is the one that was drafted, the next row has the logits for the one after it, and so on."""
        turns = [(row, sequence) for row, sequence in ready if self._begins(sequence, now)]
        while picks := self._picks(turns):
            logits = self._context.logits(max(pick.row for _, pick in picks) + 1)
            chosen = self._sampler.choose(logits, [pick for _, pick in picks])
            turns = [
                (pick.row + 1, sequence)
                for (sequence, pick), one in zip(picks, chosen, strict=True)
                if sequence.slot is not None and self._advance(sequence, one)
            ]

    def _begins(self, sequence: Sequence, now: float) -> bool:
        """All its tokens are in the cache. Whether one is to be chosen for it."""
        job = sequence.job
        if not job.prefilled_at:
            self._reports.prefilled(job, now=now)
        if not job.max_tokens:
            self._conclude(sequence, "length")
        return job.max_tokens > 0

    def _picks(self, turns: list[tuple[int, Sequence]]) -> list[tuple[Sequence, Pick]]:
        picks: list[tuple[Sequence, Pick]] = []
        for row, sequence in turns:
            if sequence.slot is None:
                continue  # its request has failed with the choice before
            choice = sequence.choices[0]
            try:
                mask = checked_mask(choice.matcher.mask()) if choice.matcher is not None else None
            except Exception as error:  # a constraint's trouble is its request's alone
                self._break(sequence.job, error)
                continue
            picks.append((sequence, Pick(row, choice.sampler, mask)))
        return picks

    def _advance(self, sequence: Sequence, chosen: Chosen) -> bool:
        """Report the token that was chosen, and go on after it. Whether it had been drafted, so that the next row is
        the sequence's as well."""
        job, choice = sequence.job, sequence.choices[0]
        if chosen.token in job.request.end_tokens:
            self._conclude(sequence, "stop", token=chosen.token)
            return False
        try:
            if choice.matcher is not None:
                choice.matcher.commit(chosen.token)
        except Exception as error:
            self._break(job, error)
            return False
        foretold = choice.drafter is not None and choice.drafter.accept(chosen.token)
        self._reports.sampled(Sampled(job.request.id, choice.index, *chosen, foretold))
        if choice.n_sampled >= job.max_tokens:
            self._conclude(sequence, "length")
            return False
        guessed = self._scheduler.follow(sequence, chosen.token)
        if guessed:
            self._reports.accepted()
        return guessed

    def _break(self, job: Job, error: Exception) -> None:
        """End a request with `error`; the others go on."""
        self.cancel(job.request.id)
        self._reports.broken(job.request.id, error)

    def _conclude(self, sequence: Sequence, reason: EndReason, *, token: int | None = None) -> None:
        """The sequence's choice is complete: report it, and give up its place."""
        choice = sequence.choices[0]
        self._reports.ended(sequence.job, choice.index, reason, n_tokens=choice.n_sampled, token=token)
        if sequence.slot is not None:
            self._scheduler.finish(sequence)
