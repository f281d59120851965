"""The engine of a GGUF that only embeds, or ranks where that is what its maker says."""

from collections.abc import Sequence
from typing import cast

from aiadmin_core.embedder import Embedder
from aiadmin_core.encoder import EncoderEngine
from aiadmin_core.specs.capabilities import Capabilities, OptionalProtocol
from aiadmin_core.specs.model import ModelFacts
from aiadmin_core.specs.vectors import Scores

from ..native.embedding import RANK, EmbeddingContext, EmbeddingSettings
from ..native.model import Model
from ..tokenizer import LlamaTokenizer
from .ranking import read_pairs, scores


class LlamaEncoderEngine(EncoderEngine):
    """Frees the model's memory when it is closed."""

    def __init__(self, model: Model, settings: EmbeddingSettings, facts: ModelFacts) -> None:
        """Reads a text before it returns: raises what that raises."""
        able: OptionalProtocol = "score" if model.pooling == RANK else "embed"
        self.capabilities = Capabilities(generates=False, protocols=frozenset({able}))
        self._model = model
        self._native_tokenizer = LlamaTokenizer(model)
        embedder = Embedder(lambda: EmbeddingContext(model, settings), self._native_tokenizer)
        super().__init__(embedder, self._native_tokenizer, facts)

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        """See `backend.SupportsScore`."""
        read = read_pairs(query, documents, self._native_tokenizer, self._model.rerank_template, truncate=truncate)
        return cast(Scores, await self._embedder.run(read, scores))

    def close(self) -> None:
        """Fail what is open, join the thread, free the memory."""
        super().close()
        self._model.close()
