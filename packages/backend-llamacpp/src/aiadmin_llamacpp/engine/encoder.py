"""`aiadmin_core.backend.TokenEngine` of a model that only embeds, or ranks: it reads, and has nothing to say."""

from collections.abc import Sequence
from typing import cast

from aiadmin_core.backend import Tokenizer, TokenRequest
from aiadmin_core.embedder import Embedder
from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.reports import Sink
from aiadmin_core.specs.capabilities import Capabilities, OptionalProtocol
from aiadmin_core.specs.model import EngineStats, ModelFacts
from aiadmin_core.specs.vectors import Scores, Vectors

from ..native.embedding import RANK, EmbeddingContext, EmbeddingSettings
from ..native.model import Model
from ..tokenizer import LlamaTokenizer
from .ranking import read_pairs, scores


class EncoderEngine:
    """One model, one thread that embeds, or ranks where that is what its maker says. Owns both until `close`."""

    def __init__(self, model: Model, settings: EmbeddingSettings, facts: ModelFacts) -> None:
        """Reads a text before it returns: raises what that raises."""
        tokenizer = LlamaTokenizer(model)
        able: OptionalProtocol = "score" if model.pooling == RANK else "embed"
        self.capabilities = Capabilities(generates=False, protocols=frozenset({able}))
        self.facts = facts
        self.tokenizer: Tokenizer = tokenizer
        self._native_tokenizer = tokenizer
        self._template = model.rerank_template
        self._model = model
        self._embedder = Embedder(lambda: EmbeddingContext(model, settings), tokenizer)
        try:
            self._embedder.warm_up()
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

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        """See `backend.SupportsScore`."""
        read = read_pairs(query, documents, self._native_tokenizer, self._template, truncate=truncate)
        return cast(Scores, await self._embedder.run(read, scores))

    def stats(self) -> EngineStats:
        """Counters as they stand."""
        return self._embedder.stats()

    def close(self) -> None:
        """Fail what is open, join the thread, free the memory."""
        self._embedder.close()
        self._model.close()
