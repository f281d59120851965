"""`aiadmin_core.backend.TokenEngine` on llama.cpp: what the runner holds. Every method may be called on any thread."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

import msgspec

from aiadmin_core.backend import Tokenizer, TokenRequest
from aiadmin_core.cache.parking import Parking
from aiadmin_core.cache.snapshots import Snapshots
from aiadmin_core.embedder import Embedder
from aiadmin_core.engine_thread import EngineThread
from aiadmin_core.reports import Sink
from aiadmin_core.sampling.choice import SUPPORTED
from aiadmin_core.specs.capabilities import MAX_LOGPROBS, Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts
from aiadmin_core.specs.vectors import Vectors

from ..native.adapters import Adapters
from ..native.context import Context
from ..native.embedding import EmbeddingContext, EmbeddingSettings
from ..native.model import Model
from ..tokenizer import LlamaTokenizer
from .checkpoints import Checkpoints
from .draft_opening import Draft
from .kv import KvCache
from .lanes import Lane, Lanes
from .long_prompts import LongPrompts
from .loop import LlamaStepper
from .neighbours import Neighbours
from .parked import ParkedPrefixes
from .prefixes import Prefixes
from .scheduler import Scheduler
from .speculation import Speculator
from .threads import Crew, ThreadGovernor, usable_cores


class LlamaEngine:
    """One model, one context or more, each with a thread that decodes. Owns them all until `close`."""

    def __init__(
        self,
        model: Model,
        contexts: Sequence[Context],
        facts: ModelFacts,
        *,
        n_parallel: int,
        n_sequences: int,
        embedding: EmbeddingSettings,
        block: int = 1,
        keeps_order: bool = True,
        always_exact: bool = False,
        parking: Parking | Snapshots | None = None,
        speculators: Sequence[Speculator | None] = (),
        draft: Draft | None = None,
        open_apart: Callable[[int], Context | None] | None = None,
    ) -> None:
        """`block`: reproducible answers need steps of a multiple of so many rows, see `exactness`; they are filled for
        requests with a seed, or all (`always_exact`), and need cells that keep their order (`cells`). `parking` keeps
        prefixes that leave their context (a `SharedParking` where there are several, `Snapshots` where they cannot be
        cut), `speculators` guess tokens, one for each context, and may ask `draft`. `open_apart` makes a context to
        read a long prompt of so many tokens in, see `long_prompts`. `embedding`: the context that makes vectors of
        texts, if ever one is asked for."""
        self.capabilities = Capabilities(
            inputs=frozenset({"text", "tokens"}),
            sampling=SUPPORTED,
            max_choices=n_parallel,
            max_logprobs=MAX_LOGPROBS,
            scores_prompts=True,
            protocols=frozenset({"embed", "adapters", "threads"}),
            cached_tokens=True,
            predictions=any(speculators),
        )
        self.facts = facts
        self._parking = parking
        self._draft = draft
        tokenizer = LlamaTokenizer(model)
        self.tokenizer: Tokenizer = tokenizer
        self._embedder = Embedder(lambda: EmbeddingContext(model, embedding), tokenizer)
        self._model = model
        self._adapters = adapters = Adapters(model)
        self._crew = crew = Crew(contexts[0].n_threads, Neighbours(usable_cores()).n_left)

        def lane(context: Context, speculator: Speculator | None) -> Lane:
            kv = KvCache(context, n_cells=context.n_ctx, n_sequences=n_sequences, keeps_order=keeps_order)
            scheduler = Scheduler(
                kv,
                n_batch=context.n_batch,
                n_parallel=n_parallel,
                block=block,
                always_exact=always_exact,
                parked=_prefixes(kv, context, parking),
                speculator=speculator,
                reads_apart=open_apart is not None,
            )
            apart = LongPrompts(context, open_apart) if open_apart is not None else None
            governor = ThreadGovernor(context.n_threads)
            return EngineThread(
                "llama-engine",
                lambda reports: LlamaStepper(
                    context, scheduler, governor, crew, reports, adapters, n_parallel=n_parallel, long_prompts=apart
                ),
            )

        threads = [lane(context, guess) for context, guess in zip_longest(contexts, speculators)]
        self._lanes = Lanes(threads)
        self._thread = threads[0]

    def start(self, sink: Sink) -> None:
        """Begin to decode. `sink` is called on the engine thread, once a step; it must return at once."""
        self._lanes.start(sink)

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Raises `EngineStopped` when the engine thread has ended; what is wrong with the request
        itself arrives as `Broken`."""
        self._lanes.submit(request)

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request, or of one of its choices, before the next step."""
        self._lanes.cancel(request_id, choice)

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        """See `backend.SupportsEmbed`: by a second context on the same weights, made on first use."""
        return await self._embedder.embed(inputs, truncate=truncate)

    async def load_adapter(self, digest: str, path: Path) -> None:
        """See `backend.SupportsAdapters`. Raises `BadRequest` where it is no adapter of this model."""
        await asyncio.to_thread(self._adapters.load, digest, path)

    def use_threads(self, n_threads: int) -> None:
        """See `backend.SupportsThreads`."""
        self._crew.limit(n_threads)

    def stats(self) -> EngineStats:
        """Counters as they stand. Raises `EngineStopped` when the engine thread has died."""
        kept = self._parking.n_bytes if self._parking is not None else 0  # once, however many contexts share it
        return msgspec.structs.replace(self._lanes.stats(), prefix_bytes=kept)

    def close(self) -> None:
        """End every request with an error, join the thread after the step in progress, free the memory."""
        self._embedder.close()
        self._lanes.close()
        if self._draft is not None:
            self._draft.close()
        self._model.close()


def _prefixes(kv: KvCache, context: Context, parking: Parking | Snapshots | None) -> Prefixes | None:
    if isinstance(parking, Snapshots):
        return Checkpoints(kv, context, parking)
    return ParkedPrefixes(kv, context, parking) if parking is not None else None
