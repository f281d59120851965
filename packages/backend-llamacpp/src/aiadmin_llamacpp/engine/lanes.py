"""Contexts of one model that decode side by side, each on an engine thread of its own: which of them answers what.

Threads that compute one step together wait for each other after every operation. Where a model is small, that costs
more than the batch gains: SmolLM2 on two cores gives two sequences 117 tokens/s in one step and 218 in two, sixteen 248
and 282. Whether it pays is measured when a model is opened (`side_by_side`). A single sequence has all threads.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from aiadmin_core.backend import Broken, Ended, StepEvent, TokenRequest
from aiadmin_core.cache.prefix_tree import common_prefix
from aiadmin_core.engine_thread import EngineThread
from aiadmin_core.reports import Sink
from aiadmin_core.specs.model import EngineStats
from aiadmin_core.specs.prompt import TokenSegment

from .loop import LlamaStepper

Lane = EngineThread[LlamaStepper]
Tokens = npt.NDArray[np.int32]

BUSY = 64
"""Tokens of a prompt that are as dear to read as a sequence is to have beside one."""

N_REMEMBERED = 32
"""Prompts of each lane that are compared with a new one."""


def best_lane(n_open: Sequence[int], n_unread: Sequence[int]) -> int:
    """Which lane is to answer: where little of the prompt has to be read, and few others are answered. Pure.

    `n_open` are the choices that each lane is answering, `n_unread` the tokens it would have to read.
    """
    return min(range(len(n_open)), key=lambda lane: n_unread[lane] + BUSY * n_open[lane])


class Prompts:
    """The last prompts that a lane was given, as far as they are not the beginning of another."""

    def __init__(self) -> None:
        self._last: deque[tuple[str, Tokens]] = deque(maxlen=N_REMEMBERED)

    def n_known(self, salt: str, tokens: Tokens) -> int:
        """How much of the beginning of `tokens` the lane has met."""
        return max((common_prefix(tokens, other) for own, other in self._last if own == salt), default=0)

    def add(self, salt: str, tokens: Tokens) -> None:
        for index, (own, other) in enumerate(self._last):
            if own == salt and common_prefix(tokens, other) == len(other):
                del self._last[index]
                break
        self._last.append((salt, tokens))


class Lanes:
    """What an `EngineThread` does, by several. Every method may be called on any thread."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._alone = lanes[0] if len(lanes) == 1 else None
        self._lock = threading.Lock()
        self._prompts = [Prompts() for _ in lanes]
        self._open: dict[int, tuple[int, set[int]]] = {}
        """By request: its lane, and the choices that have not ended."""

    def start(self, sink: Sink) -> None:
        """See `EngineThread`, also for the others."""
        for lane in self._lanes:
            lane.start(sink if self._alone else partial(self._pass_on, sink))

    def submit(self, request: TokenRequest) -> None:
        if self._alone:
            self._alone.submit(request)
            return
        with self._lock:
            index = self._choose(request)
            self._open[request.id] = (index, set(range(request.n)))
        try:
            self._lanes[index].submit(request)
        except BaseException:
            with self._lock:
                self._open.pop(request.id, None)
            raise

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        if self._alone:
            self._alone.cancel(request_id, choice)
            return
        with self._lock:
            found = self._open.get(request_id)
            if found is not None:
                self._leave(request_id, choice)
        if found is not None:  # else it has ended by itself
            self._lanes[found[0]].cancel(request_id, choice)

    def stats(self) -> EngineStats:
        """Their sums; the largest of their largest batches."""
        found = [lane.stats() for lane in self._lanes]
        total = {name: sum(getattr(one, name) for one in found) for name in EngineStats.__struct_fields__}
        return msgspec.structs.replace(EngineStats(**total), max_batch=max(one.max_batch for one in found))

    def close(self) -> None:
        with ThreadPoolExecutor(len(self._lanes)) as executor:  # each may take a while to keep what it has computed
            list(executor.map(EngineThread.close, self._lanes))

    def _choose(self, request: TokenRequest) -> int:
        tokens = _tokens(request)
        n_open = [0] * len(self._lanes)
        for lane, choices in self._open.values():
            n_open[lane] += len(choices)
        n_known = [prompts.n_known(request.cache_salt, tokens) for prompts in self._prompts]
        index = best_lane(n_open, [len(tokens) - n for n in n_known])
        self._prompts[index].add(request.cache_salt, tokens)
        return index

    def _pass_on(self, sink: Sink, events: Sequence[StepEvent]) -> None:
        ended = [event for event in events if isinstance(event, Ended | Broken)]
        if ended:
            with self._lock:
                for event in ended:
                    self._leave(event.request_id, event.choice if isinstance(event, Ended) else None)
        sink(events)

    def _leave(self, request_id: int, choice: int | None) -> None:
        found = self._open.get(request_id)
        if found is None:
            return
        found[1].discard(-1 if choice is None else choice)
        if choice is None or not found[1]:
            del self._open[request_id]


def _tokens(request: TokenRequest) -> Tokens:
    """Of the prompt, as far as it is text."""
    parts = [np.asarray(part.tokens, np.int32) for part in request.prompt if isinstance(part, TokenSegment)]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
