"""What a GGUF will take, told from its header."""

import pytest

from aiadmin_core.backend import EstimatesMemory
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_llamacpp import memory
from aiadmin_llamacpp.backend import LlamaBackend

LLAMA = {
    "block_count": 30,
    "embedding_length": 576,
    "feed_forward_length": 1536,
    "attention.head_count": 9,
    "attention.head_count_kv": 3,
    "n_vocab": 49152,
}


@pytest.mark.parametrize(
    ("changes", "cache_type", "expected"),
    [
        ({}, "f16", 1000 * 30 * 3 * 128 * 2),
        ({}, "q8_0", 1000 * 30 * 3 * 128 * 34 // 32),
        ({}, "bf16/f16", 1000 * 30 * 3 * 128 * 2),
        ({"attention.key_length": 80, "attention.value_length": 80}, None, 1000 * 30 * 3 * 160 * 2),
        ({"attention.key_length": 192, "attention.value_length": 128}, "f32", 1000 * 30 * 3 * 320 * 4),
        ({"attention.head_count_kv": [0, 2, 0, 2]}, "bf16", 1000 * 4 * 128 * 2),
        ({"block_count": 0}, None, 0),
    ],
)
def test_the_cache_is_layers_by_heads_by_their_widths(changes, cache_type, expected):
    assert memory.cache_bytes(LLAMA | changes, 1000, cache_type) == expected


def test_a_header_without_numbers_is_no_error():
    assert memory.cache_bytes({"n_vocab": 0}, 1000, None) == 0
    assert memory.compute_bytes({"n_vocab": 0}, 512) == 0


@pytest.fixture
def model(smollm2_gguf):
    size = smollm2_gguf.stat().st_size
    file = ModelFile(role="model", path=str(smollm2_gguf), size=size)
    return ModelSpec(name="m", digest="sha256:0", format="gguf", files=(file,))


def test_the_estimate_of_a_file_grows_with_its_context(model):
    backend = LlamaBackend()
    assert isinstance(backend, EstimatesMemory)
    usual = backend.estimate_memory(model, EngineOptions())
    small = backend.estimate_memory(model, EngineOptions(n_ctx=2048))
    assert (usual.n_ctx, small.n_ctx) == (8192, 2048)
    assert usual.weights_bytes == small.weights_bytes == model.files[0].size
    assert usual.cache_bytes == 4 * small.cache_bytes == 2 * memory.cache_bytes(LLAMA, 8192, None)
    assert 350e6 < usual.n_bytes < 650e6


def test_unasked_the_context_is_what_the_available_memory_holds(model):
    token_bytes = memory.cache_bytes(LLAMA, 1, None)
    roomy, short = (memory.estimate(model, EngineOptions(), offloads=False, available_bytes=n) for n in (10**12, 0))
    assert (roomy.n_ctx, short.n_ctx) == (8192, 4096)
    used = roomy.weights_bytes + roomy.compute_bytes
    between = memory.estimate(model, EngineOptions(), offloads=False, available_bytes=used + 2 * 6000 * token_bytes)
    assert between.n_ctx == 5888
    assert between.cache_bytes == 5888 * token_bytes


def test_weights_on_a_device_of_their_own_take_nothing_of_the_machines(model):
    there = memory.estimate(model, EngineOptions(), offloads=True)
    assert (there.weights_bytes, there.cache_bytes, there.is_certain) == (0, 0, False)
    here = memory.estimate(model, EngineOptions(n_gpu_layers=0), offloads=True)
    assert here.weights_bytes == model.files[0].size
