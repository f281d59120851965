"""`aiadmin_core.backend.TokenEngine` on llama.cpp: what the runner holds. Every method may be called on any thread."""

import threading
from collections.abc import Callable, Sequence

from aiadmin_core.backend import StepEvent, Tokenizer, TokenRequest
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts

from ..native.context import Context
from ..native.model import Model
from ..tokenizer import LlamaTokenizer
from .kv import KvCache
from .loop import Cancel, Close, EngineLoop
from .scheduler import Scheduler
from .threads import ThreadGovernor

MAX_LOGPROBS = 20

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


class LlamaEngine:
    """One model, one context, one thread that decodes. Owns all three until `close`."""

    def __init__(self, model: Model, context: Context, facts: ModelFacts, *, n_parallel: int, n_sequences: int) -> None:
        self.capabilities = Capabilities(
            inputs=frozenset({"text", "tokens"}),
            sampling=SAMPLING,
            max_choices=n_parallel,
            max_logprobs=MAX_LOGPROBS,
            cached_tokens=True,
        )
        self.facts = facts
        self.tokenizer: Tokenizer = LlamaTokenizer(model)
        self._model = model
        self._context = context
        self._n_parallel = n_parallel
        self._n_sequences = n_sequences
        self._loop: EngineLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, sink: Callable[[Sequence[StepEvent]], None]) -> None:
        """Start the engine thread. `sink` is called on it, once a step; it must return at once."""
        assert self._loop is None, "started twice"
        context = self._context
        kv = KvCache(context, n_cells=context.n_ctx, n_sequences=self._n_sequences)
        exact = self.facts.device == "cpu"
        scheduler = Scheduler(kv, n_batch=context.n_batch, n_parallel=self._n_parallel, exact=exact)
        governor = ThreadGovernor(context.n_threads)
        self._loop = EngineLoop(context, scheduler, governor, n_parallel=self._n_parallel, sink=sink)
        # A daemon: a server that is being killed does not wait for the step in progress.
        self._thread = threading.Thread(target=self._loop.run, name="llama-engine", daemon=True)
        self._thread.start()

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Raises `EngineStopped` when the engine thread has ended; what is wrong with the request
        itself arrives as `Broken`."""
        assert self._loop is not None, "not started"
        self._loop.submit(request)

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request, or of one of its choices, before the next step."""
        if self._loop is not None:
            self._loop.commands.put(Cancel(request_id, choice))

    def stats(self) -> EngineStats:
        """Counters as they stand. Raises `EngineStopped` when the engine thread has died."""
        return self._loop.stats() if self._loop else EngineStats(kv_total=self._context.n_ctx)

    def close(self) -> None:
        """End every request with an error, join the thread after the step in progress, free the memory."""
        if self._loop is not None and self._thread is not None:
            self._loop.commands.put(Close())
            self._thread.join()
            self._loop = self._thread = None
        self._context.close()
        self._model.close()
