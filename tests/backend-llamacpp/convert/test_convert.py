"""Folders of safetensors made GGUFs: compared bit by bit with a GGUF of the same weights, and by what they answer."""

import asyncio
import json
import shutil

import gguf
import numpy as np
import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.runner.opening import opened
from aiadmin_core.specs.events import TextDelta
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.request import TextInput
from aiadmin_core.testing.asking import request
from aiadmin_llamacpp.backend import LlamaBackend
from aiadmin_llamacpp.convert.families import rope_factors, sizes_of

pytestmark = pytest.mark.real_model


UNSAID = {"add_space_prefix", "unknown_token_id"}
"""Of a tokenizer: what means nothing to byte-level BPE, and what the folder does not say."""


def convert(folder, target):
    steps = []
    LlamaBackend().convert(folder, target, lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1]
    return gguf.GGUFReader(target)


def spec_of(path):
    if path.is_dir():
        kinds = {".safetensors": "model"}
        files = [
            ModelFile(role=kinds.get(one.suffix, "config"), path=str(one), name=one.name) for one in path.iterdir()
        ]
        return ModelSpec(name=path.name, digest="", format="safetensors", files=tuple(files))
    return ModelSpec(
        name=path.name, digest="", format="gguf", files=(ModelFile(role="model", path=str(path), name=path.name),)
    )


def answer(path, backend=None, prompt="The capital of France is", n=16):
    """The most likely continuation, and the log-probability of each of its tokens."""
    engine = opened(backend or LlamaBackend(), spec_of(path), EngineOptions(safe_mode=True, n_ctx=256))

    async def ask():
        events = [
            event
            async for event in engine.generate(request(engine, input=TextInput(text=prompt), max_tokens=n, logprobs=0))
        ]
        await engine.close()
        return [event for event in events if isinstance(event, TextDelta)]

    deltas = asyncio.run(ask())
    tokens = [token for delta in deltas for token in delta.logprobs]
    return "".join(delta.text for delta in deltas), [token.logprob for token in tokens]


def edited(source, folder, **changes):
    shutil.copytree(source, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_the_same_weights_and_tokens_arrive_bit_by_bit(tiny_mlx, tiny_gguf, tmp_path):
    made, expected = convert(tiny_mlx, tmp_path / "made.gguf"), gguf.GGUFReader(tiny_gguf)

    there = {tensor.name: tensor for tensor in expected.tensors}
    assert {tensor.name for tensor in made.tensors} == set(there)
    for tensor in made.tensors:
        assert tensor.tensor_type == there[tensor.name].tensor_type
        assert np.array_equal(tensor.data, there[tensor.name].data), tensor.name
    for name, field in expected.fields.items():
        if name.startswith(("llama.", "tokenizer.")) and name.rpartition(".")[2] not in UNSAID:
            assert made.fields[name].contents() == field.contents(), name


def test_the_real_model_comes_back_as_it_was(smollm2_gguf, smollm2_mlx, tmp_path):
    """The folder holds the GGUF's weights, rounded to bfloat16, and its tokenizer."""
    target = tmp_path / "made.gguf"
    made, original = convert(smollm2_mlx, target), gguf.GGUFReader(smollm2_gguf)

    assert LlamaBackend().inspect(target).quantization == "BF16"
    there = {tensor.name: tensor for tensor in made.tensors}
    assert set(there) == {tensor.name for tensor in original.tensors}
    for tensor in original.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        found = there[tensor.name]
        assert np.allclose(gguf.quants.dequantize(found.data, found.tensor_type), weights, rtol=2**-8, atol=0)
    assert made.fields["tokenizer.ggml.merges"].contents() == original.fields["tokenizer.ggml.merges"].contents()
    assert answer(target, n=4)[0] == answer(smollm2_gguf, n=4)[0]


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_other_families_answer_as_mlx_does(tiny_mlx, tmp_path, family):
    mlx_backend = pytest.importorskip("aiadmin_mlx.backend")
    pytest.importorskip("mlx.core")
    folder = edited(
        tiny_mlx, tmp_path / family, model_type=family, head_dim=32, rope_theta=50_000.0, use_sliding_window=False
    )
    _add_tensors(folder / "model.safetensors", family)

    target = tmp_path / "made.gguf"
    convert(folder, target)

    text, scores = answer(target)
    theirs, their_scores = answer(folder, mlx_backend.MlxBackend())
    assert text == theirs
    assert np.allclose(scores, their_scores, atol=0.2)


def _add_tensors(path, family):
    """What llamas have not: biases, or norms of queries and keys."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + n]), data[8 + n :]
    random = np.random.default_rng(3)
    for layer in range(2):
        prefix = f"model.layers.{layer}.self_attn."
        added = {
            "qwen2": {"q_proj.bias": 64, "k_proj.bias": 32, "v_proj.bias": 32},
            "qwen3": {"q_norm.weight": 32, "k_norm.weight": 32},
        }
        for name, size in added[family].items():
            values = (1 + random.standard_normal(size) / 4).astype(np.float32).tobytes()
            header[prefix + name] = {
                "dtype": "F32",
                "shape": [size],
                "data_offsets": [len(body), len(body) + len(values)],
            }
            body += values
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_llama_31s_positions_are_scaled_by_wavelength():
    config = {
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "max_position_embeddings": 131072,
        "vocab_size": 128256,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    }
    factors = rope_factors(sizes_of(config))

    assert len(factors) == 64
    assert factors[0] == 1.0
    assert factors[-1] == 8.0
    assert factors == sorted(factors)
    assert any(1 < factor < 8 for factor in factors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gemma3"}, "family 'gemma3' are not converted"),
        ({"model_type": None}, "family 'None'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"rope_scaling": {"type": "longrope"}}, "scales positions by 'longrope'"),
        ({"quantization": {"bits": 4}}, "weights are quantized"),
        ({"num_hidden_layers": 3}, "lacks 9 tensors"),
        ({"hidden_size": "many"}, "hidden_size 'many'"),
    ],
)
def test_what_is_not_converted_is_refused_by_name(tiny_mlx, tmp_path, changes, message):
    folder = edited(tiny_mlx, tmp_path / "folder", **changes)
    with pytest.raises(BadRequest, match=message):
        convert(folder, tmp_path / "made.gguf")
    assert not (tmp_path / "made.gguf").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["model"].update(type="Unigram"), "its tokenizer is SentencePiece's"),
        (lambda data: data["model"].update(byte_fallback=True), "its tokenizer is SentencePiece's"),
        (lambda data: data["model"].update(type="WordPiece"), "its tokenizer is WordPiece"),
        (lambda data: data.update(pre_tokenizer={"type": "Whitespace"}), "its pre-tokenizer is none"),
        (lambda data: data["model"]["vocab"].update(more=60_000), "rows for 49152"),
        (lambda data: data["model"].pop("merges"), "is broken"),
    ],
)
def test_a_tokenizer_that_is_not_known_is_refused(tiny_mlx, tmp_path, change, message):
    folder = edited(tiny_mlx, tmp_path / "folder")
    data = json.loads((folder / "tokenizer.json").read_text())
    change(data)
    (folder / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(BadRequest, match=message):
        convert(folder, tmp_path / "made.gguf")


def test_a_cut_file_is_refused(tiny_mlx, tmp_path):
    folder = edited(tiny_mlx, tmp_path / "folder")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadRequest, match="is broken"):
        convert(folder, tmp_path / "made.gguf")
