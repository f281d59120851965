"""The engine as core sees it: a `TokenEngine` whose thread loads the model, decodes with it and frees it.

MLX's streams belong to the thread that made them, so the thread is started for loading and waits there for `start`.
"""

import gc
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import mlx.core as mx
import msgspec

from aiadmin_core.backend import Broken, StepEvent, Tokenizer, TokenRequest
from aiadmin_core.errors import EngineStopped
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec

from ..memory import resident_bytes
from ..model import LoadedModel, load
from ..tokenizer import MlxTokenizer
from .commands import Cancel, Command, Stop, Submit
from .loop import EngineLoop

MAX_LOGPROBS = 20  # OpenAI's

SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repeat_penalty",
        "repeat_last_n",
        "logit_bias",
        "seed",
        "logprobs",
        "ignore_eos",
    }
)

Sink = Callable[[Sequence[StepEvent]], None]


@dataclass(frozen=True)
class _Opened:
    """What the engine thread hands out once the model is loaded."""

    tokenizer: MlxTokenizer
    facts: ModelFacts
    n_parallel: int
    loop: EngineLoop


class MlxEngine:
    """`aiadmin_core.backend.TokenEngine` over mlx-lm."""

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        """Load `model`, which may take minutes, and decode with it. Raises `errors.ModelLoadFailed`."""
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped: EngineStopped | None = None
        """Why nothing can be submitted any more. Under `_lock`, so that no request is queued behind the end."""
        self._died = False
        self._sink: Future[Sink | None] = Future()
        opened: Future[_Opened] = Future()
        self._thread = threading.Thread(target=self._run, args=(model, options, opened), name="mlx-engine", daemon=True)
        self._thread.start()
        self._opened = opened.result()
        self.facts = self._opened.facts
        self.tokenizer: Tokenizer = self._opened.tokenizer
        self.capabilities = Capabilities(
            inputs=frozenset({"text", "tokens"}),
            sampling=SAMPLING,
            max_choices=self._opened.n_parallel,
            max_logprobs=MAX_LOGPROBS,
            cached_tokens=True,
        )

    def start(self, sink: Sink) -> None:
        """Begin to decode; `sink` gets every step's events, on the engine thread."""
        self._sink.set_result(sink)

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Any thread; never blocks. Raises `EngineStopped` when the engine thread has ended; what is
        wrong with the request itself arrives as `Broken`."""
        with self._lock:
            if self._stopped is not None:
                raise self._stopped
            self._commands.put(Submit(request))

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request (or one of its choices) within one step. Any thread; never blocks."""
        self._commands.put(Cancel(request_id, choice))

    def stats(self) -> EngineStats:
        """Counters as they stand. Any thread. Raises `EngineStopped` when the engine thread has died."""
        if self._died and self._stopped is not None:
            raise self._stopped
        return msgspec.structs.replace(self._opened.loop.stats(), memory_bytes=resident_bytes())

    def close(self) -> None:
        """Stop decoding (open requests get `Broken`), join the engine thread, free the model."""
        self._stop(EngineStopped("The model is being unloaded.", hint="Ask again to load it anew."))
        if not self._sink.done():
            self._sink.set_result(None)
        self._commands.put(Stop())
        self._thread.join()

    # On the engine thread.

    def _run(self, model: ModelSpec, options: EngineOptions, opened: "Future[_Opened]") -> None:
        try:
            loaded = load(model, options)
            loop = EngineLoop(loaded, self._commands)
            opened.set_result(_Opened(loaded.tokenizer, loaded.facts, loaded.n_parallel, loop))
        except BaseException as error:  # whatever it is, it is raised where the engine was asked for
            opened.set_exception(error)
            return
        sink = self._sink.result()
        try:
            if sink is not None:
                self._decode(loop, sink)
        finally:
            _free(loaded, loop)

    def _decode(self, loop: EngineLoop, sink: Sink) -> None:
        """Run the loop to its end, wanted or not; nobody is left waiting for an event that will not come."""
        try:
            loop.run(sink)
        except BaseException as error:  # out of memory, or a mistake of ours: this engine is done for
            traceback.print_exc(file=sys.stderr)  # the runner's log
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            self._stop(EngineStopped(f"The engine thread died: {reason}", hint="Send the request again."))
            self._died = True
        with self._lock:
            why = self._stopped or EngineStopped("The engine has stopped.")
        events: list[StepEvent] = [Broken(request_id, why) for request_id in loop.jobs]
        events.extend(Broken(request_id, why) for request_id in self._queued())
        if events:
            sink(events)

    def _queued(self) -> list[int]:
        """The requests still in the queue, which gets no more of them."""
        ids = []
        try:
            while True:
                command = self._commands.get_nowait()
                if isinstance(command, Submit):
                    ids.append(command.request.id)
        except Empty:
            return ids

    def _stop(self, why: EngineStopped) -> None:
        with self._lock:
            self._stopped = self._stopped or why


def _free(loaded: LoadedModel, loop: EngineLoop) -> None:
    """Give the memory back while this thread, whose streams the arrays belong to, still lives. The counters stay."""
    loaded.call = None
    loop.release()
    gc.collect()
    mx.clear_cache()
    mx.clear_streams()
