"""`aiadmin_core.backend.TokenEngine` of a BERT: it reads, and has nothing to say."""

from collections.abc import Sequence

from msgspec.structs import replace

from aiadmin_core.backend import Tokenizer, TokenRequest
from aiadmin_core.embedder import N_SEQUENCES, Embedder
from aiadmin_core.errors import AiAdminError, ModelLoadFailed, UnsupportedParameter
from aiadmin_core.reports import Sink
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec
from aiadmin_core.specs.vectors import Vectors

from ..bert import Bert
from ..files import model_folder
from ..memory import resident_bytes
from ..model import check_options, choose_device, device_name
from ..safetensors import read_folder
from ..tokenizer import MlxTokenizer


class EncoderEngine:
    """One encoder, on the thread that loads it, embeds with it and frees it."""

    capabilities = Capabilities(generates=False, protocols=frozenset({"embed"}))

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        """Load `model`, and read a text with it. Raises `ModelLoadFailed`."""
        check_options(options)
        try:
            with model_folder(model) as folder:
                info = read_folder(folder)
                tokenizer = MlxTokenizer(folder)
            n_most = min(options.n_ctx or info.n_ctx_train, info.n_ctx_train)
            self._embedder = Embedder(lambda: _loaded(model, options, n_most), tokenizer)
            self._warm_up()
        except ModelLoadFailed:
            raise
        except AiAdminError as error:  # a broken file, or a variant, named
            raise ModelLoadFailed(f"{model.name}: {error.message}", hint=error.hint) from error
        self.tokenizer: Tokenizer = tokenizer
        self.facts = ModelFacts(
            architecture=info.architecture,
            n_params=info.n_params,
            n_ctx=n_most,
            n_ctx_train=info.n_ctx_train,
            n_vocab=tokenizer.n_vocab,
            n_embd=info.n_embd,
            size_bytes=sum(file.size for file in model.files if file.role == "model"),
            quantization=info.quantization,
            device=device_name(),
            notes=("makes embeddings only",),
        )

    def _warm_up(self) -> None:
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

    def stats(self) -> EngineStats:
        """Counters as they stand."""
        return replace(self._embedder.stats(), memory_bytes=resident_bytes())

    def close(self) -> None:
        """Fail what is open, join the thread, free the memory."""
        self._embedder.close()


def _loaded(model: ModelSpec, options: EngineOptions, n_most: int) -> Bert:
    """On the embedder's thread, to which all that MLX makes belongs."""
    choose_device(options)
    with model_folder(model) as folder:
        return Bert(folder, n_most=n_most, n_sequences=N_SEQUENCES)
