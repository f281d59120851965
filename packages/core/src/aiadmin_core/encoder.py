"""`aiadmin_core.backend.TokenEngine` of a model that only reads: it embeds, or ranks, and has nothing to say.

Used by the backends, which bring the model and say what becomes of its memory.
"""

from collections.abc import Sequence

from .backend import Tokenizer, TokenRequest
from .embedder import Embedder
from .errors import UnsupportedParameter
from .reports import Sink
from .specs.capabilities import Capabilities
from .specs.model import EngineStats, ModelFacts
from .specs.vectors import Vectors


class EncoderEngine:
    """One model, and the thread that embeds with it. Owns both until `close`."""

    capabilities = Capabilities(generates=False, protocols=frozenset({"embed"}))

    def __init__(self, embedder: Embedder, tokenizer: Tokenizer, facts: ModelFacts) -> None:
        """Reads a text before it returns: raises what that raises, and has closed the embedder then."""
        self.tokenizer = tokenizer
        self.facts = facts
        self._embedder = embedder
        try:
            embedder.warm_up()
        except BaseException:
            embedder.close()
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
        """Fail what is open, and join the thread."""
        self._embedder.close()
