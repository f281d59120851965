"""The engine as core sees it: a `TokenEngine` whose thread loads the model, decodes with it and frees it.

MLX's streams belong to the thread that made them, so the thread is started for loading and waits there for `start`.
"""

from msgspec.structs import replace

from aiadmin_core.backend import Tokenizer, TokenRequest
from aiadmin_core.engine_thread import EngineThread
from aiadmin_core.reports import Sink
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelSpec

from ..memory import resident_bytes
from ..model import load
from ..sampler import SUPPORTED
from .loop import MlxStepper

MAX_LOGPROBS = 20  # OpenAI's


class MlxEngine:
    """`aiadmin_core.backend.TokenEngine` over mlx-lm."""

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        """Load `model`, which may take minutes, and decode with it. Raises `errors.ModelLoadFailed`."""
        self._thread = EngineThread("mlx-engine", lambda reports: MlxStepper(load(model, options), reports))
        loaded = self._thread.stepper.model
        self.facts = loaded.facts
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.capabilities = Capabilities(
            inputs=frozenset({"text", "tokens"}),
            sampling=SUPPORTED,
            max_choices=loaded.n_parallel,
            max_logprobs=MAX_LOGPROBS,
            scores_prompts=True,
            cached_tokens=True,
        )

    def start(self, sink: Sink) -> None:
        """Begin to decode; `sink` gets every step's events, on the engine thread."""
        self._thread.start(sink)

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Any thread; never blocks. Raises `EngineStopped` when the engine thread has ended; what is
        wrong with the request itself arrives as `Broken`."""
        self._thread.submit(request)

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request (or one of its choices) within one step. Any thread; never blocks."""
        self._thread.cancel(request_id, choice)

    def stats(self) -> EngineStats:
        """Counters as they stand. Any thread. Raises `EngineStopped` when the engine thread has died."""
        return replace(self._thread.stats(), memory_bytes=resident_bytes())

    def close(self) -> None:
        """Stop decoding (open requests get `Broken`), join the engine thread, free the model."""
        self._thread.close()
