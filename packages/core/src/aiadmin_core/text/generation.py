"""One request on its way out: what the engine reports about it becomes its events.

Made by `assemble` for each request; only the event loop touches it. Pure, but for the clock. The engine's reports are
worked off as they arrive, whether or not anybody reads: a stop string frees its place in the engine even under a reader
that is slow.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from ..backend import Broken, Ended, Prefilled, PromptRows, Sampled, StepEvent
from ..errors import AiAdminError
from ..specs.events import Event, Failed, Finished, PromptScored, Started, Usage
from .pipeline import TextPipeline
from .prompt_scores import PromptScores


class Generation:
    """`request_id` is the caller's; `pipelines` holds one for each choice; `cancel` frees a choice's place in the
    engine; `cached` says whether the engine knows how much of the prompt it had cached; `max_tokens` and `n_dropped`
    are told as they are (see `Started`); `n_predicted` tokens are the client's prediction; `closed` says whether a
    choice was brought to its end because of its limit; `scores` tells the prompt's log-probabilities where they are
    wanted; `told` are the prompt's tokens where all tokens are to be told."""

    def __init__(
        self,
        request_id: int,
        pipelines: Sequence[TextPipeline],
        cancel: Callable[[int], None],
        *,
        cached: bool,
        max_tokens: int | None = None,
        n_dropped: int = 0,
        n_predicted: int = 0,
        scores: PromptScores | None = None,
        told: Sequence[int] | None = None,
        closed: Callable[[int], bool] | None = None,
    ) -> None:
        self._request_id = request_id
        self._running = dict(enumerate(pipelines))
        self._cancel = cancel
        self._cached = cached
        self._adjusted = (max_tokens, n_dropped)
        self._n_predicted = n_predicted
        self._n_foretold: Counter[int] = Counter()  # tokens of each choice
        self._scores = scores
        self._told = None if told is None else {choice: list(told) for choice in self._running}
        self._closed = closed
        self._prefilled: Prefilled | None = None
        self._prefilled_at = 0.0
        self._error: Exception | None = None
        self._out: list[Event] = []
        self._begun = False
        self.over = False
        """Whether `give` has given everything there will be."""
        self.refusal: AiAdminError | None = None
        """What ended it before there was any event, once it is over."""

    @property
    def running(self) -> bool:
        """Whether the engine may still work on it."""
        return bool(self._running)

    def take(self, event: StepEvent) -> None:
        """Work off one report of the engine."""
        match event:
            case Sampled(choice=choice) if choice in self._running:
                pipeline = self._running[choice]
                pipeline.feed(event)
                self._tell(choice, event.token)
                self._n_foretold[choice] += event.foretold
                if pipeline.over:
                    self._cancel(choice)
                    self._finish(choice, "stop", pipeline.n_tokens, time.monotonic() - self._prefilled_at)
            case Ended(choice=choice) if choice in self._running:
                self._running[choice].flush(event.token)
                self._tell(choice, event.token)
                reason = "length" if self._closed is not None and self._closed(choice) else event.reason
                self._finish(choice, reason, event.n_tokens, event.decode_s)
            case Prefilled():
                self._prefilled, self._prefilled_at = event, time.monotonic()
                cached = event.n_cached if self._cached else None
                if self._scores is not None and (tokens := self._scores.rest()):
                    self._out.append(PromptScored(self._request_id, tokens))
                self._out.append(Started(self._request_id, event.n_prompt, cached, *self._adjusted))
            case PromptRows() if self._scores is not None:
                self._out.append(PromptScored(self._request_id, self._scores.take(event)))
            case Broken():
                self.fail(event.error)
            case _:  # a choice that has ended here before it ended in the engine: these were on their way
                pass

    def fail(self, error: Exception) -> None:
        """End it. The first error is the one that is told."""
        self._error = self._error or error

    def give(self) -> list[Event]:
        """What has happened since the last call, in order; neighbouring text of a choice is one delta. Nothing once it
        is over."""
        if self.over:
            return []
        events, self._out = self._out, []
        for choice, pipeline in self._running.items():
            events += pipeline.take(self._request_id, choice)
        self._begun = self._begun or bool(events)
        self.over = not self._running
        if self._error is not None:
            self.over = True
            error = _foreseen(self._error)
            if self._begun:
                events.append(
                    Failed(self._request_id, error.message, error.code, error.status, error.hint, param=error.param)
                )
            else:
                self.refusal = error
        return events

    def _finish(self, choice: int, ended: Literal["stop", "length"], n_tokens: int, decode_s: float) -> None:
        pipeline = self._running.pop(choice)
        prefilled = self._prefilled
        assert prefilled is not None, "an engine reports Prefilled before anything else"
        usage = Usage(
            prompt_tokens=prefilled.n_prompt,
            completion_tokens=n_tokens,
            cached_tokens=prefilled.n_cached if self._cached else None,
            reasoning_tokens=pipeline.n_reasoning_tokens,
            accepted_prediction_tokens=self._n_foretold[choice],
            rejected_prediction_tokens=max(0, self._n_predicted - self._n_foretold[choice]),
            queue_s=prefilled.queue_s,
            prefill_s=prefilled.prefill_s,
            decode_s=decode_s,
        )
        self._out.extend(pipeline.take(self._request_id, choice))
        reason, tokens = pipeline.finish_reason(ended), tuple(self._told[choice]) if self._told else ()
        self._out.append(Finished(self._request_id, reason, usage, choice, pipeline.stop, tokens))

    def _tell(self, choice: int, token: int | None) -> None:
        if self._told is not None and token is not None:
            self._told[choice].append(token)


def _foreseen(error: Exception) -> AiAdminError:
    if isinstance(error, AiAdminError):
        return error
    foreseen = AiAdminError(f"The engine failed: {type(error).__name__}: {error}")
    foreseen.__cause__ = error
    return foreseen
