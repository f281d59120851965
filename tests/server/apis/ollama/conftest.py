"""A store with a model in it, and Ollama's own client."""

import pytest

from aiadmin_core.backend import Backend, ModelInfo
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore

HEADER = ModelInfo(
    format="gguf",
    architecture="llama",
    n_params=134_515_008,
    n_ctx_train=8192,
    n_embd=576,
    quantization="Q4_1",
    chat_template="{{ messages }}<think></think>",
    metadata={"general.architecture": "llama", "llama.context_length": 8192, "tokenizer.ggml.tokens": ["a", "b"]},
)


@pytest.fixture
def store(tmp_path) -> ModelStore:
    """`smollm2`, and `small`, an alias of it."""
    store = ModelStore(tmp_path / "models")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    fetched = FetchedModel(
        files=(FetchedFile(path=path),),
        format="gguf",
        origin="file:model.gguf",
        system="Be brief.",
        license="Apache-2.0",
        parameters={"temperature": 0.2, "stop": ["<end>", "</s>"]},
    )
    store.add("smollm2", fetched, info=HEADER)
    Aliases(store.aliases_path).set("small", Alias(target="smollm2", parameters={"num_ctx": 512}))
    return store


@pytest.fixture
def gguf() -> tuple[str, object]:
    """A plugin whose backend reads the header of such a file."""

    class Gguf(Backend):
        name = "gguf"

        def suitability(self, model):
            return 50 if model.format == "gguf" else None

        def inspect(self, path):
            return HEADER

        def open_engine(self, model, options):
            raise NotImplementedError

    class Plugin:
        @hookimpl
        def aiadmin_backends(self):
            return [Gguf()]

    return "gguf", Plugin()
