"""What the engine thread does between two commands: a step of every row, a chunk of a prompt. It alone touches MLX.

mlx-lm's `BatchGenerator` (0.32) is not driven, because a request cannot be served through it as it must be here:
its log-probabilities are taken after the logits processors; a processor runs before the token it depends on has been
read, so that a constraint would stall the whole batch; choices cannot share one prefill; and a prompt's chunk has the
same length however slow the machine is. The models and their caches, single and batched, are mlx-lm's own.

A step launches the forward pass of all rows, and only then reads the tokens of the step before, which it overlaps with
the computation. Where the next choice depends on the last token (constraints, penalties), the tokens are read between
the forward pass and the sampling, which costs only what the host needs for a mask.
"""

import copy
import gc
import time
from typing import Literal

import mlx.core as mx
import numpy as np

from aiadmin_core.backend import Sampled
from aiadmin_core.cache.scores import ScoredPrompts
from aiadmin_core.engine_thread import Gauges
from aiadmin_core.jobs import Job, Limits
from aiadmin_core.reports import Reports
from aiadmin_core.sampling.logprobs import likelihoods
from aiadmin_core.steps import PrefillPace

from ..model import OpenedModel
from ..sampler import Chosen, Sampler, choose
from . import scheduler
from .batch import DecodeBatch
from .prompt_cache import PromptCache
from .sequence import Prefill, Sequence

_CLEAR_EVERY = 256
"""Steps between two returns of MLX's cached buffers to the system: growing contexts leave sizes nobody needs again."""

CLOSE_S = 1.0
"""How long writing kept prefixes may hold up the end."""


class MlxStepper:
    """An `aiadmin_core.engine_thread.Stepper` over one model, which it frees in the end."""

    hands_over = False

    def __init__(self, model: OpenedModel, reports: Reports) -> None:
        self.model = model
        self.limits = Limits(n_ctx=model.facts.n_ctx, n_vocab=model.n_logits, n_parallel=model.n_parallel)
        self._reports = reports
        self._open: dict[int, list[Sequence]] = {}
        """The sequences of each request that has not ended."""
        self._batch = DecodeBatch(model.call)
        self._prompt_cache = PromptCache(model.plan.prompt_cache_bytes, model.prefix_folder)
        self._waiting: list[Prefill] = []
        self._prefilling: Prefill | None = None
        self._in_flight: tuple[list[Sequence], Chosen] | None = None
        """The last step's rows and tokens, launched and not read."""
        self._pace = PrefillPace(model.tokens_per_s)
        self._scores = ScoredPrompts()

    @property
    def has_work(self) -> bool:
        return bool(self._batch.sequences or self._prefilling or self._waiting)

    def gauges(self) -> Gauges:
        rows, plan = self._batch.sequences, self.model.plan
        return Gauges(
            n_running=len(rows) + (self._prefilling.n_rows if self._prefilling else 0),
            n_waiting=sum(prefill.n_rows for prefill in self._waiting),
            kv_used=sum(sequence.n_cells for sequence in rows) + self._prompt_cache.n_tokens,
            kv_total=plan.n_cells + plan.n_kept,
            prefix_bytes=self._prompt_cache.n_bytes,
        )

    def step(self) -> None:
        """One token of every row, then one chunk of the prompt whose turn it is."""
        self._drop_cancelled()
        self._decode()
        self._reports.flush()  # nobody waits for a chunk of somebody else's prompt
        self._prefill()

    def forsake(self, request_id: int | None) -> None:
        """MLX cannot stop what it computes; a chunk of a prompt is short."""

    def rest(self) -> bool:
        """Write one of the kept prefixes to a file, so that a runner that is killed loses little, and give back what
        the batch took."""
        self._in_flight = None
        more = self._prompt_cache.rest()
        mx.clear_cache()
        return more

    def start_over(self) -> None:
        """Drop the caches as well: what they hold is in doubt."""
        self._open.clear()
        self._waiting.clear()
        self._prefilling = self._in_flight = None
        self._batch = DecodeBatch(self.model.call)
        self._prompt_cache.clear()
        self._scores.clear()

    def close(self) -> None:
        """Write what is kept of prompts to files, and give the memory back, while this thread still lives: its streams
        are what the arrays belong to."""
        self._prompt_cache.close(within_s=CLOSE_S)
        self.model.call = None
        self.model.make_caches = list
        self.start_over()
        gc.collect()
        mx.clear_cache()
        mx.clear_streams()

    # Requests.

    def add(self, job: Job) -> None:
        prompt = tuple(job.tokens.tolist())
        sequences = []
        for choice in range(job.request.n):
            matcher = job.request.matchers[choice]
            sampler = Sampler(job.request.sampling, matcher=matcher, prompt=prompt, choice=choice)
            sequences.append(Sequence(job=job, choice=choice, sampler=sampler))
        self._open[job.request.id] = sequences
        self._waiting.append(Prefill(job=job, prompt=prompt, sequences=sequences))

    def cancel(self, request_id: int, choice: int | None) -> int:
        n_cancelled = 0
        for sequence in self._open.get(request_id, ()):
            if choice in (None, sequence.choice) and not sequence.over:
                sequence.over = True
                n_cancelled += 1
        self._close_if_over(request_id)
        return n_cancelled

    def _break(self, job: Job, error: Exception) -> None:
        """End a request with `error`; the others go on."""
        for sequence in self._open[job.request.id]:
            sequence.over = True
        self._reports.broken(job.request.id, error)
        self._close_if_over(job.request.id)

    def _close_if_over(self, request_id: int) -> None:
        if all(sequence.over for sequence in self._open.get(request_id, ())):
            self._open.pop(request_id, None)

    def _drop_cancelled(self) -> None:
        self._drop_rows()
        self._waiting = [prefill for prefill in self._waiting if prefill.n_rows]
        if self._prefilling and not self._prefilling.n_rows:
            self._prefilling = None

    # Decoding.

    def _decode(self) -> None:
        """One step of every row."""
        batch = self._batch
        if any(sequence.n_launched >= sequence.job.max_tokens for sequence in batch.sequences):
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
        if self._reports.counters.n_steps % _CLEAR_EVERY == 0:
            mx.clear_cache()

    def _mask(self, sequence: Sequence) -> object:
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
                self._accept(sequence, token, logprob, top)
            except Exception as error:  # its matcher's
                self._break(sequence.job, error)
        if n_decoded:
            self._reports.stepped(n_sampled=n_decoded)

    def _accept(self, sequence: Sequence, token: int, logprob: float, top: tuple[tuple[int, float], ...]) -> None:
        """Take the token that was sampled: the end, one more of the answer, or the last one there is room for. Raises
        whatever the constraint's matcher raises."""
        job = sequence.job
        request = job.request
        sequence.tokens.append(token)
        if token in request.end_tokens:
            self._conclude(sequence, "stop", token=token)
            return
        self._reports.sampled(
            Sampled(request.id, sequence.choice, token, logprob, top[: request.sampling.logprobs or 0])
        )
        if len(sequence.tokens) >= job.max_tokens:
            self._conclude(sequence, "length")
        else:
            sequence.sampler.accept(token)

    def _conclude(self, sequence: Sequence, reason: Literal["stop", "length"], *, token: int | None = None) -> None:
        sequence.over = True
        self._reports.ended(sequence.job, sequence.choice, reason, n_tokens=len(sequence.tokens), token=token)
        self._close_if_over(sequence.job.request.id)

    def _drop_rows(self) -> None:
        """Let sequences that are over leave the batch; what they had is kept for prompts that begin alike."""
        sequences = self._batch.sequences
        rows = [row for row, sequence in enumerate(sequences) if not sequence.over]
        if len(rows) == len(sequences):
            return
        for row, sequence in enumerate(sequences):
            job = sequence.job
            if sequence.over and job.request.n == 1:  # of several, rarely the one that the next turn goes on from
                kept = (*job.tokens.tolist(), *sequence.tokens)[: sequence.n_cells]
                self._prompt_cache.keep(job.request.cache_salt, kept, self._batch.extract(row))
        self._batch.retain(rows)

    def _make_room(self) -> None:
        """Put the rows that came last back into the queue while the others need their room; they go on where they
        were, from what is kept of them or from a new prefill."""
        n_cells = self.model.plan.n_cells
        while scheduler.overfull([sequence.n_cells for sequence in self._batch.sequences], n_cells=n_cells):
            self._read()
            self._drop_rows()
            if not self._batch.sequences:
                return
            row = len(self._batch.sequences) - 1
            sequence = self._batch.sequences[row]
            tokens = (*sequence.job.tokens.tolist(), *sequence.tokens)
            kept = self._batch.extract(row)
            self._prompt_cache.keep(sequence.job.request.cache_salt, tokens[: sequence.n_cells], kept)
            self._batch.retain([*range(row)])
            resume = Prefill(job=sequence.job, prompt=tokens, sequences=[sequence], resumes=True)
            self._waiting.insert(0, resume)

    # Prefill.

    def _prefill(self) -> None:
        """One chunk of the prompt whose turn it is; into the batch with it when that was the last."""
        prefill = self._prefilling = self._prefilling or self._admit()
        if prefill is None:
            return
        if prefill.n_to_prefill:
            try:
                self._prefill_chunk(prefill)
            except RuntimeError as error:  # MLX's: out of memory, most likely; only this prompt's caches are in doubt
                self._break(prefill.job, error)
                self._prefilling = None
                return
        if not prefill.n_to_prefill:
            self._prefilling = None
            self._join(prefill)

    def _admit(self) -> Prefill | None:
        expected = [sequence.n_expected for sequence in self._batch.sequences]
        n_parallel, n_cells = self.model.n_parallel, self.model.plan.n_cells
        prefill = scheduler.next_admission(self._waiting, expected, n_parallel=n_parallel, n_cells=n_cells)
        if prefill is None:
            return None
        self._waiting.remove(prefill)
        job = prefill.job
        if job.scores_are_due:
            job.scores.extend(self._scores.known(_score_key(job), job.tokens)[job.n_scored : job.n_to_score])
        most = job.n_scored if job.scores_are_due else None  # whatever has to give logits is decoded
        prefill.n_cached, caches = self._prompt_cache.find(job.request.cache_salt, prefill.prompt, most=most)
        prefill.n_prefilled = prefill.n_cached
        prefill.caches = caches or self.model.make_caches()
        if not prefill.resumes:
            job.admitted_at, job.n_cached = time.monotonic(), prefill.n_cached
        return prefill

    def _prefill_chunk(self, prefill: Prefill) -> None:
        stall_s = scheduler.STALL_S if self._batch.sequences else scheduler.LONE_STALL_S
        n_tokens = self._pace.chunk(seconds=stall_s, least=scheduler.MIN_CHUNK, most=self.model.n_batch)
        job = prefill.job
        n_tokens = min(n_tokens, prefill.n_to_prefill, scheduler.MOST_SCORED if job.scores_are_due else n_tokens)
        chunk = prefill.prompt[prefill.n_prefilled : prefill.n_prefilled + n_tokens]
        started = time.perf_counter()
        logits = self.model.call(mx.array(chunk)[None], cache=prefill.caches)
        if job.scores_are_due:
            self._score(job, logits[0, max(0, job.n_scored - prefill.n_prefilled) :])
        mx.eval([cache.state for cache in prefill.caches])
        self._pace.observe(n_tokens=n_tokens, seconds=time.perf_counter() - started)
        prefill.n_prefilled += n_tokens

    def _score(self, job: Job, rows: mx.array) -> None:
        """Report how likely the next tokens of a prompt are; `rows` are the logits before each of them."""
        following = job.tokens[job.n_scored + 1 : job.n_scored + 1 + len(rows)]
        if len(following):
            logits = np.array(rows.astype(mx.float32))
            job.scores.extend(likelihoods(logits, following, job.request.sampling.logprobs or 0))
        if not job.scores_are_due:
            self._scores.keep(_score_key(job), job.tokens, job.scores)
        self._reports.scores(job)

    def _join(self, prefill: Prefill) -> None:
        """Put the prompt's choices into the batch, and its prefix where others find it."""
        job = prefill.job
        if prefill.n_prefilled > prefill.n_cached:
            kept = prefill.prompt[: prefill.n_prefilled]
            self._prompt_cache.keep(job.request.cache_salt, kept, copy.deepcopy(prefill.caches))
        alive = [sequence for sequence in prefill.sequences if not sequence.over]
        self._reports.scores(job)  # of a prompt that was known whole
        if not prefill.resumes:
            self._reports.prefilled(job, now=time.monotonic())
        if not job.max_tokens:  # the prompt was to be read, no more
            prefill.caches = []
            for sequence in alive:
                self._conclude(sequence, "length")
            return
        for sequence in alive:
            sequence.n_cells = prefill.n_prefilled
        self._batch.join(alive, prefill.caches, prefill.prompt[-1])
        prefill.caches = []


def _score_key(job: Job) -> str:
    """What has to be the same for scores to be shared."""
    return f"{job.request.sampling.logprobs or 0}:{job.request.cache_salt}"
