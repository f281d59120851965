"""The engine of a BERT."""

from msgspec.structs import replace

from aiadmin_core.embedder import N_SEQUENCES, Embedder
from aiadmin_core.encoder import EncoderEngine
from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec

from ..bert import Bert
from ..files import model_folder
from ..memory import resident_bytes
from ..model import check_options, choose_device, device_name
from ..safetensors import read_folder
from ..tokenizer import MlxTokenizer


class MlxEncoderEngine(EncoderEngine):
    """Loaded, used and freed on the embedder's thread, to which all that MLX makes belongs."""

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        """Load `model`, and read a text with it. Raises `ModelLoadFailed`."""
        check_options(options)
        try:
            with model_folder(model) as folder:
                info = read_folder(folder)
                tokenizer = MlxTokenizer(folder)
            n_most = min(options.n_ctx or info.n_ctx_train, info.n_ctx_train)
            facts = ModelFacts(
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
            super().__init__(Embedder(lambda: _loaded(model, options, n_most), tokenizer), tokenizer, facts)
        except ModelLoadFailed:
            raise
        except AiAdminError as error:  # a broken file, or a variant, named
            raise ModelLoadFailed(f"{model.name}: {error.message}", hint=error.hint) from error

    def stats(self) -> EngineStats:
        """Counters as they stand."""
        return replace(super().stats(), memory_bytes=resident_bytes())


def _loaded(model: ModelSpec, options: EngineOptions, n_most: int) -> Bert:
    """On the embedder's thread."""
    choose_device(options)
    with model_folder(model) as folder:
        return Bert(folder, n_most=n_most, n_sequences=N_SEQUENCES)
