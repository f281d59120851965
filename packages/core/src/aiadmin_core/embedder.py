"""Vectors for texts, or ranks, on a thread of their own: generating goes on beside it, and neither waits for the other.

Used by the backends that compute them. The context is made when the first text comes. Inputs of several requests share
a batch; none is ever cut in two.
"""

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from .errors import AiAdminError, BadRequest, EngineStopped, InputTooLong
from .specs.model import EngineStats
from .specs.vectors import Vectors

N_TOGETHER = 512
"""Tokens of inputs that share a batch. A longer input has one for itself: memory grows with what is read at once."""
N_SEQUENCES = 64

Inputs = Sequence[str | tuple[int, ...]]
Tokens = npt.NDArray[np.int32]
Row = npt.NDArray[np.float32]


class EmbeddingContext(Protocol):
    """What computes the rows. Made, used and closed on the embedder's thread."""

    n_most: int
    """Tokens of an input at most."""
    n_sequences: int
    """Inputs of one batch at most."""

    def embed(self, inputs: Sequence[Tokens]) -> Iterable[Row]:
        """A row for each input."""

    def interrupt(self) -> None:
        """Let `embed` raise soon, whatever. On any thread; the embedder is closing."""

    def close(self) -> None:
        """Free the memory."""


class TextTokenizer(Protocol):
    """What reads the texts."""

    n_vocab: int

    @property
    def closing(self) -> frozenset[int]:
        """Tokens put at the end of a text, which stay there when it is cut."""

    def encode_whole(self, text: str) -> list[int]:
        """The tokens of a text, with what is put around one."""


@dataclass(eq=False)
class Job:
    """One call. On the embedder's thread."""

    read: Callable[[int], list[Tokens]]
    """Gives its inputs' tokens, at most so many each. What it raises is the call's."""
    finish: Callable[["Job"], Any]
    """Gives the result, once every input has its row. What it raises is the call's."""
    result: "Future[Any]" = field(default_factory=Future)
    given_up: bool = False
    """Set by whoever asked: what is not computed yet is not wanted any more."""
    tokens: list[Tokens] = field(default_factory=list)
    """Of every input, once they are read."""
    rows: list[Row] = field(default_factory=list)
    """Of the inputs that are done: the first ones."""

    @property
    def missing(self) -> list[Tokens]:
        return self.tokens[len(self.rows) :]

    @property
    def n_tokens(self) -> tuple[int, ...]:
        """Of each input."""
        return tuple(map(len, self.tokens))


def share(missing: Sequence[Sequence[int]], *, n_tokens: int, n_sequences: int) -> list[int]:
    """How many of its next inputs each job has in the next batch; `missing` is their lengths. Pure.

    One each in turn, while there is room. The first job always has one, however long.
    """
    taken = [0] * len(missing)
    n, left, hungry = 0, n_tokens, list(range(len(missing)))
    while hungry:
        fed: list[int] = []
        for job in hungry:
            if taken[job] < len(missing[job]) and n < n_sequences and (missing[job][taken[job]] <= left or n == 0):
                left -= missing[job][taken[job]]
                taken[job] += 1
                n += 1
                fed.append(job)
        hungry = fed
    return taken


class Embedder:
    """Every method may be called on any thread."""

    def __init__(self, make: Callable[[], EmbeddingContext], tokenizer: TextTokenizer) -> None:
        """`make` is called on the embedder's thread when there is something to do, again after it failed."""
        self._make = make
        self._tokenizer = tokenizer
        self._context: EmbeddingContext | None = None
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        """Of whether it is closed: no job is queued behind the end."""
        self._closed = False
        self._n_batches = self._n_tokens = self._n_embedded = self._n_largest = 0

    async def embed(self, inputs: Inputs, *, truncate: bool = False) -> Vectors:
        """Vectors of length 1. Raises `InputTooLong` and `BadRequest`, naming `inputs[i]`, and what `run` raises."""
        return cast(Vectors, await self.run(lambda n: _texts(inputs, self._tokenizer, n, truncate), _vectors))

    async def run(self, read: Callable[[int], list[Tokens]], finish: Callable[[Job], Any]) -> Any:
        """What `finish` makes of the rows of what `read` gives, see `Job`. Cancelling it gives up what is not computed
        yet. Raises what either raises, what making a context raises, and `EngineStopped` once closed."""
        job = self.submit(read, finish)
        try:
            return await asyncio.wrap_future(job.result)
        finally:
            job.given_up = True

    def submit(self, read: Callable[[int], list[Tokens]], finish: Callable[[Job], Any]) -> Job:
        """The same, for whoever waits on a thread. Raises `EngineStopped` once closed; the rest is its result's."""
        job = Job(read, finish)
        with self._lock:
            if self._closed:
                raise EngineStopped("The engine is closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="embedder", daemon=True)
                self._thread.start()
            self._waiting.put(job)
        return job

    def warm_up(self) -> None:
        """Read one text, and wait until that is done. Raises what that raises."""
        self.submit(lambda n: _texts(["warm up"], self._tokenizer, n, True), lambda job: job).result.result()

    def stats(self) -> EngineStats:
        """Counters as they stand."""
        return EngineStats(
            n_running=len(self._jobs),
            n_waiting=self._waiting.qsize(),
            n_steps=self._n_batches,
            n_sequences_decoded=self._n_embedded,
            max_batch=self._n_largest,
            n_prompt_tokens=self._n_tokens,
        )

    def close(self) -> None:
        """Fail what is open, and join the thread."""
        with self._lock:
            self._closed = True
        self._waiting.put(None)
        if (context := self._context) is not None:
            context.interrupt()
        if self._thread is not None:
            self._thread.join()

    # On the embedder's thread.

    def _run(self) -> None:
        try:
            while self._take():
                try:
                    self._step()
                except Exception as error:  # whatever it is, it ends who was waiting, and the next ones may do better
                    if self._closed:  # broken off
                        continue
                    if not isinstance(error, AiAdminError):
                        traceback.print_exc()
                    self._fail_all(error)
        finally:
            self._fail_all(EngineStopped("The model is being unloaded.", hint="Ask again to load it anew."))
            if self._context is not None:
                self._context.close()

    def _take(self) -> bool:
        """Accept what waits, sleeping while there is nothing to do. False: it is time to end."""
        while not self._jobs or not self._waiting.empty():
            job = self._waiting.get()
            if job is None:
                return False
            if not job.result.set_running_or_notify_cancel():
                continue  # from here on nobody else ends it: whoever leaves sets `given_up` alone
            try:
                context = self._opened()
                job.tokens = job.read(context.n_most)
            except Exception as error:
                job.result.set_exception(error)
                continue
            self._jobs.append(job)
        return not self._closed

    def _opened(self) -> EmbeddingContext:
        if self._context is None:
            self._context = self._make()
        return self._context

    def _step(self) -> None:
        """One batch. A job's future is done with its last vector."""
        context = self._opened()
        self._jobs = deque(job for job in self._jobs if not job.given_up)
        jobs = list(islice(self._jobs, context.n_sequences))
        lengths = [[len(tokens) for tokens in job.missing[: context.n_sequences]] for job in jobs]
        n_tokens = min(N_TOGETHER, context.n_most)
        taken = share(lengths, n_tokens=n_tokens, n_sequences=context.n_sequences)
        batch = [tokens for job, n in zip(jobs, taken, strict=True) for tokens in job.missing[:n]]
        if batch:
            rows = iter(context.embed(batch))
            for job, n in zip(jobs, taken, strict=True):
                job.rows.extend(next(rows) for _ in range(n))
            self._n_batches += 1
            self._n_embedded += len(batch)
            self._n_largest = max(self._n_largest, len(batch))
            self._n_tokens += sum(map(len, batch))
        for job in [job for job in jobs if not job.missing]:
            self._jobs.remove(job)
            try:
                job.result.set_result(job.finish(job))
            except Exception as error:  # the call's alone
                job.result.set_exception(error)
        self._jobs.rotate(-1)  # so that everybody is first in turn

    def _fail_all(self, error: Exception) -> None:
        while self._jobs:
            self._jobs.popleft().result.set_exception(error)
        while self._closed and not self._waiting.empty():
            job = self._waiting.get()
            if job is not None and job.result.set_running_or_notify_cancel():
                job.result.set_exception(error)


def _texts(inputs: Inputs, tokenizer: TextTokenizer, n_most: int, truncate: bool) -> list[Tokens]:
    """The tokens of texts, with what the vocabulary puts around one; token ids are read as they are."""
    found: list[Tokens] = []
    for index, one in enumerate(inputs):
        param = f"inputs[{index}]"
        tokens = np.asarray(tokenizer.encode_whole(one) if isinstance(one, str) else one, np.int64)
        if len(tokens) == 0:
            raise BadRequest(f"'{param}' is empty.", param=param)
        if tokens.min() < 0 or tokens.max() >= tokenizer.n_vocab:
            raise BadRequest(f"'{param}': token ids lie between 0 and {tokenizer.n_vocab - 1}.", param=param)
        if len(tokens) > n_most:
            if not truncate:
                raise InputTooLong(n_tokens=len(tokens), n_most=n_most, param=param)
            closing = tokens[-1:] if int(tokens[-1]) in tokenizer.closing else tokens[:0]
            tokens = np.concatenate([tokens[: n_most - len(closing)], closing])
        found.append(tokens.astype(np.int32))
    return found


def _vectors(job: Job) -> Vectors:
    """Each row scaled to length 1. Raises `AiAdminError` where the model computed no number."""
    if not job.rows:
        return Vectors(data=b"", n_dims=0, n_tokens=())
    rows = np.stack(job.rows)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise AiAdminError("The model's vector for a text is none: a number in it is infinite, or all are 0.")
    return Vectors(data=(rows / lengths).astype("<f4").tobytes(), n_dims=rows.shape[1], n_tokens=job.n_tokens)
