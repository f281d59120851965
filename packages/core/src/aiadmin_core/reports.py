"""What an engine's steps have to say to those who wait for them, and what is counted on the way."""

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .backend import Broken, Ended, Prefilled, PromptRows, Sampled, StepEvent, TokenRequest
from .errors import AiAdminError
from .jobs import Job

Sink = Callable[[Sequence[StepEvent]], None]

HELD_S = 0.025
"""Tokens need not be handed over more often: nobody reads faster, and each time the server, the client and the loop of
this process wake up and stop threads that compute."""

YOUNG_S = 0.1
"""But the beginning of an answer is shown token by token: much of what is asked is answered in a few."""


@dataclass(slots=True)
class Counters:
    """Written by the engine thread, read by any; see `specs.model.EngineStats`."""

    n_steps: int = 0
    n_sequences_decoded: int = 0
    max_batch: int = 0
    n_prompt_tokens: int = 0
    n_cached_tokens: int = 0
    n_completion_tokens: int = 0
    n_cancelled: int = 0
    n_drafted: int = 0
    n_accepted: int = 0


class Reports:
    """Gathers the events of a step; knows which requests wait for more. Engine thread only, but for `counters`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.counters = Counters()
        self.sink: Sink = _nobody
        self.before_flush: Callable[[], None] = lambda: None
        """Called before events go out: whoever sees one finds the gauges as they were with it."""
        self._events: list[StepEvent] = []
        self._handed_over_at = -HELD_S
        self._prefilled_at = -YOUNG_S
        self._open: dict[int, int] = {}
        """Choices of each request that have not ended."""

    def open(self, request: TokenRequest) -> None:
        """`request` waits for events from now on."""
        self._open[request.id] = request.n

    def scores(self, job: Job) -> None:
        """Tell what is known of the prompt of `job` and has not been told."""
        if found := job.scores[job.n_told :]:
            job.n_told += len(found)
            logprobs, tops = zip(*found, strict=True)
            self._events.append(PromptRows(job.request.id, logprobs, tops))

    def prefilled(self, job: Job, *, now: float) -> None:
        """The prompt of `job` is in the context, `n_cached` of it before it came; its first tokens come next."""
        job.prefilled_at = now
        self._prefilled_at = self._clock()
        queue_s, prefill_s = job.admitted_at - job.submitted_at, now - job.admitted_at
        self._events.append(Prefilled(job.request.id, job.n_prompt, job.n_cached, queue_s, prefill_s))
        self.counters.n_prompt_tokens += job.n_prompt
        self.counters.n_cached_tokens += job.n_cached

    def sampled(self, event: Sampled) -> None:
        """A choice has another token."""
        self._events.append(event)

    def ended(
        self, job: Job, choice: int, reason: Literal["stop", "length"], *, n_tokens: int, token: int | None
    ) -> None:
        """A choice is complete after `n_tokens`; `token` is the end token, where one was sampled."""
        decode_s = time.monotonic() - job.prefilled_at
        self._events.append(Ended(job.request.id, choice, reason, decode_s, n_tokens, token))
        self._close(job.request.id, 1)

    def cancelled(self, request_id: int, n_choices: int | None) -> None:
        """So many choices of a request (None: all) will hear nothing more. Only a request that was given up counts as
        cancelled: a choice is freed because its answer is complete."""
        self.counters.n_cancelled += n_choices is None
        self._close(request_id, n_choices)

    def broken(self, request_id: int, error: Exception) -> None:
        """A request cannot go on. What nobody foresaw is written to the runner's log."""
        if not isinstance(error, AiAdminError):
            traceback.print_exception(error, file=sys.stderr)
        self._events.append(Broken(request_id, error))
        self._open.pop(request_id, None)

    def all_broken(self, error: Exception) -> None:
        """No open request can go on. `error` has been logged."""
        self._events.extend(Broken(request_id, error) for request_id in self._open)
        self._open.clear()

    def stepped(self, *, n_sampled: int) -> None:
        """A step went well and gave `n_sampled` sequences a token."""
        counters = self.counters
        counters.n_steps += 1
        counters.n_sequences_decoded += n_sampled
        counters.n_completion_tokens += n_sampled
        counters.max_batch = max(counters.max_batch, n_sampled)

    def drafted(self, n: int) -> None:
        """A step verifies `n` guessed tokens."""
        self.counters.n_drafted += n

    def accepted(self) -> None:
        """One of them was the token that came next: its choice got a token more in this step."""
        self.counters.n_accepted += 1
        self.counters.n_completion_tokens += 1

    def flush(self) -> None:
        """Hand over what has happened since the last time, with one call."""
        if self._events:
            self.before_flush()
            events, self._events = self._events, []
            self._handed_over_at = self._clock()
            self.sink(events)

    def flush_before_a_token(self) -> None:
        """The same, but for mere tokens that are no more than `HELD_S` later than the last ones: they go with those of
        the step that begins. For steps that nobody waits long for."""
        now = self._clock()
        held = now - self._handed_over_at < HELD_S and now - self._prefilled_at >= YOUNG_S
        if not (held and all(type(event) is Sampled for event in self._events)):
            self.flush()

    def _close(self, request_id: int, n_choices: int | None) -> None:
        left = self._open.get(request_id, 0) - n_choices if n_choices is not None else 0
        if left > 0:
            self._open[request_id] = left
        else:
            self._open.pop(request_id, None)


def _nobody(_events: Sequence[StepEvent]) -> None:
    """The sink before `start`."""
