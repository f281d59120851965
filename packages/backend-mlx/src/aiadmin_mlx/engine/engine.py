"""The engine as core sees it: a `TokenEngine` whose thread loads the model, decodes with it and frees it.

MLX's streams belong to the thread that made them, so the thread is started for loading and waits there for `start`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from aiadmin_core.backend import Tokenizer, TokenRequest
from aiadmin_core.embedder import Embedder
from aiadmin_core.engine_thread import EngineThread
from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.reports import Sink
from aiadmin_core.specs.capabilities import MAX_LOGPROBS, Capabilities
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelSpec
from aiadmin_core.specs.vectors import Vectors

from ..memory import resident_bytes
from ..model import OpenedModel, load
from ..sampler import SUPPORTED
from .loop import MlxStepper
from .pooling import Pooling


class MlxEngine:
    """`aiadmin_core.backend.TokenEngine` over mlx-lm."""

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        """Load `model`, which may take minutes, and decode with it. Raises `errors.ModelLoadFailed`."""
        self._thread = EngineThread("mlx-engine", lambda reports: MlxStepper(load(model, options), reports))
        loaded = self._thread.stepper.model
        self.facts = loaded.facts
        self.tokenizer: Tokenizer = loaded.tokenizer
        self._embedder = _embedder(self._thread, loaded)
        self.capabilities = Capabilities(
            inputs=frozenset({"text", "tokens"}),
            sampling=SUPPORTED,
            max_choices=loaded.n_parallel,
            max_logprobs=MAX_LOGPROBS,
            scores_prompts=True,
            cached_tokens=True,
            protocols=frozenset() if self._embedder is None else frozenset({"embed"}),
        )

    def start(self, sink: Sink) -> None:
        """Begin to decode; `sink` gets every step's events, on the engine thread."""
        self._thread.start(sink)

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Any thread; never blocks. Raises `EngineStopped` when the engine thread has ended; what is
        wrong with the request itself arrives as `Broken`."""
        self._thread.submit(request)

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        """See `backend.SupportsEmbed`."""
        if self._embedder is None:
            raise UnsupportedParameter("model", why="this architecture of mlx-lm gives no vectors.")
        return await self._embedder.embed(inputs, truncate=truncate)

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request (or one of its choices) within one step. Any thread; never blocks."""
        self._thread.cancel(request_id, choice)

    def stats(self) -> EngineStats:
        """Counters as they stand. Any thread. Raises `EngineStopped` when the engine thread has died."""
        return replace(self._thread.stats(), memory_bytes=resident_bytes())

    def close(self) -> None:
        """Stop decoding (open requests get `Broken`), join the engine thread, free the model."""
        if self._embedder is not None:
            self._embedder.close()
        self._thread.close()


def _embedder(thread: EngineThread[MlxStepper], model: OpenedModel) -> Embedder | None:
    if (hidden := model.hidden) is None:
        return None
    return Embedder(lambda: Pooling(thread.call, hidden, n_most=model.facts.n_ctx), model.tokenizer)
