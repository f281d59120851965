"""LoRA adapters that come with a model."""

import asyncio

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.runner.opening import opened
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.request import TextInput
from aiadmin_core.testing.asking import CollectedAnswer, collect, request
from aiadmin_llamacpp.backend import LlamaBackend

pytestmark = pytest.mark.real_model
NAME = "blk.1.ffn_down.weight"


@pytest.fixture(scope="module")
def adapters(load_beside):
    return load_beside("_adapters")


def answer(*paths):
    files = tuple(
        ModelFile(role="adapter" if index else "model", path=str(path), digest=str(path))
        for index, path in enumerate(paths)
    )
    model = ModelSpec(name="tiny", digest="", format="gguf", files=files)
    engine = opened(LlamaBackend(), model, EngineOptions(safe_mode=True, n_ctx=256, kv_cache_type="f32"))

    async def ask():
        try:
            asked = request(engine, input=TextInput(text="The capital of France is"), max_tokens=12)
            return CollectedAnswer(await collect(engine, asked)).text
        finally:
            await engine.close()

    return asyncio.run(ask())


def test_a_models_adapter_changes_what_it_says_as_merging_it_would(adapters, tiny_gguf, tmp_path):
    own = adapters.weights(tiny_gguf, NAME)
    a, b = adapters.low_rank(*own.shape, seed=3, size=4.0)
    adapters.write_adapter(tmp_path / "lora.gguf", {NAME: (a, b)}, alpha=4.0)
    adapters.rewrite(tiny_gguf, tmp_path / "merged.gguf", {NAME: own + 2.0 * (b @ a)})

    tuned = answer(tiny_gguf, tmp_path / "lora.gguf")

    assert tuned == answer(tmp_path / "merged.gguf")
    assert tuned != answer(tiny_gguf)


def test_what_is_no_adapter_of_the_model_is_said_to_whoever_asks(adapters, tiny_gguf, tmp_path):
    a, b = adapters.low_rank(16, 16, seed=3)
    adapters.write_adapter(tmp_path / "lora.gguf", {NAME: (a, b)}, alpha=4.0)

    with pytest.raises(BadRequest, match="adapter"):
        answer(tiny_gguf, tmp_path / "lora.gguf")
