"""`aiadmin_core.backend.TokenEngine` of a model that only embeds: it reads, and has nothing to say."""

from collections.abc import Sequence

from aiadmin_core.backend import Tokenizer, TokenRequest
from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.reports import Sink
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts
from aiadmin_core.specs.vectors import Vectors

from ..native.embedding import EmbeddingContext, EmbeddingSettings
from ..native.model import Model
from ..tokenizer import LlamaTokenizer
from .embedding import Embedder


class EncoderEngine:
    """One model, one thread that embeds. Owns both until `close`."""

    def __init__(self, model: Model, settings: EmbeddingSettings, facts: ModelFacts) -> None:
        """Embeds a text before it returns: raises what that raises."""
        tokenizer = LlamaTokenizer(model)
        self.capabilities = Capabilities(generates=False, protocols=frozenset({"embed"}))
        self.facts = facts
        self.tokenizer: Tokenizer = tokenizer
        self._model = model
        self._embedder = Embedder(lambda: EmbeddingContext(model, settings), tokenizer)
        try:
            self._embedder.submit(["warm up"]).result.result()
        except BaseException:
            self._embedder.close()
            raise

    def start(self, sink: Sink) -> None:
        """Nothing to begin: no step reports anything."""

    def submit(self, request: TokenRequest) -> None:  # noqa: ARG002 - whatever it is
        """Core refuses requests to generate before they come here."""
        raise UnsupportedParameter("model", why="this model generates no text.")

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """There is never one."""

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        """See `backend.SupportsEmbed`."""
        return await self._embedder.embed(inputs, truncate=truncate)

    def stats(self) -> EngineStats:
        """Counters as they stand."""
        return self._embedder.stats()

    def close(self) -> None:
        """Fail what is open, join the thread, free the memory."""
        self._embedder.close()
        self._model.close()
