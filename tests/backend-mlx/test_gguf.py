"""GGUF files on MLX: the same weights, tokens and answers as the safetensors they were made of."""

from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
import pytest
from tokenizers import Tokenizer

from aiadmin_core.errors import BadRequest, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.testing.driving import Driver
from aiadmin_mlx.backend import MlxBackend
from aiadmin_mlx.gguf import header
from aiadmin_mlx.gguf.converting import convert
from aiadmin_mlx.gguf.tensors import llama3_scaling, name_of, unpermute
from aiadmin_mlx.gguf.vocabulary import tokenizer_json


def spec_of(path):
    return ModelSpec(name="test", digest="sha256:0", format="gguf", files=(ModelFile(role="model", path=str(path)),))


@pytest.fixture(scope="session")
def converted(smollm2_gguf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    convert(smollm2_gguf, folder)
    return folder


def test_the_tiny_llama_is_the_one_it_was_made_of(tiny_gguf, tiny_mlx, tmp_path):
    convert(tiny_gguf, tmp_path)
    ours, theirs = mx.load(str(tmp_path / "model.safetensors")), mx.load(str(tiny_mlx / "model.safetensors"))
    assert set(ours) == set(theirs)
    for name, weights in theirs.items():
        assert ours[name].dtype == mx.float32
        assert mx.array_equal(ours[name], weights), name


@pytest.mark.real_model
def test_the_real_model_is_converted_to_sixteen_bits(converted, smollm2_mlx):
    ours, theirs = mx.load(str(converted / "model.safetensors")), mx.load(str(smollm2_mlx / "model.safetensors"))
    assert set(ours) == set(theirs)
    assert all(mx.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.real_model
@pytest.mark.parametrize("text", ["Hello, world!", "In 1984 it cost 12,345.67\n\n  twice  as\tmuch", "Käse 東京 🤖"])
def test_its_tokens_are_those_of_the_vocabulary_it_came_from(converted, smollm2_mlx, text):
    ours, theirs = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (converted, smollm2_mlx))
    assert ours.encode(text).ids == theirs.encode(text).ids
    assert ours.decode(ours.encode(text).ids) == text


def test_an_engine_opens_a_gguf_and_answers_like_the_safetensors(tiny_gguf, describe, tiny_mlx):
    answers = []
    for spec in (spec_of(tiny_gguf), describe(tiny_mlx)):
        engine = MlxBackend().open_engine(spec, EngineOptions())
        player = Driver(engine, max_tokens=8, end_tokens=frozenset())
        try:
            answers.append(player.run([1, 2, 3, 4, 5]).tokens)
        finally:
            engine.close()
    assert answers[0] == answers[1]
    assert len(answers[0]) == 8


def test_what_it_is_can_be_read_without_loading_it(tiny_gguf, tmp_path):
    backend = MlxBackend()
    info = backend.inspect(tiny_gguf)
    assert info is not None
    assert (info.format, info.architecture, info.n_ctx_train, info.n_embd) == ("gguf", "llama", 2048, 64)
    assert info.quantization == "F32"
    assert backend.suitability(spec_of(tiny_gguf)) == 10, "less than llama.cpp's"
    estimate = backend.estimate_memory(spec_of(tiny_gguf), EngineOptions())
    assert estimate is not None
    assert estimate.weights_bytes == info.n_params * 4
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:1000])
    for asked in (backend.inspect, lambda path: backend.open_engine(spec_of(path), EngineOptions())):
        with pytest.raises((BadRequest, ModelLoadFailed), match="broken or cut off"):
            asked(cut)


def test_the_architecture_is_told_without_the_rest_of_the_header(tiny_gguf, tmp_path):
    """Every model of the store is asked for it: a vocabulary takes seconds to read."""
    beginning = tmp_path / "beginning.gguf"
    beginning.write_bytes(tiny_gguf.read_bytes()[:100])
    assert header.architecture(beginning) == "llama"

    later = tmp_path / "later.gguf"
    writer = gguf.GGUFWriter(later, "qwen3")
    writer.kv_data[0] = {"general.name": writer.kv_data[0].pop("general.architecture")} | writer.kv_data[0]
    writer.add_string("general.architecture", "qwen3")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert header.architecture(later) == "qwen3"
    beginning.write_bytes(b"GGUF")
    assert header.architecture(beginning) == ""


def test_what_mlx_has_no_place_for_is_refused_by_name():
    assert name_of("blk.7.attn_q.weight") == "model.layers.7.self_attn.q_proj.weight"
    assert name_of("rope_freqs.weight") is None
    with pytest.raises(ModelLoadFailed, match=r"'blk\.0\.ffn_gate_exps\.weight'"):
        name_of("blk.0.ffn_gate_exps.weight")
    with pytest.raises(ModelLoadFailed, match="of the kind 'llama'"):
        tokenizer_json({"tokenizer.ggml.model": "llama"})
    fields = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [], "tokenizer.ggml.tokens": []}
    with pytest.raises(ModelLoadFailed, match="splits text as 'tekken' does"):
        tokenizer_json(fields | {"tokenizer.ggml.token_type": [], "tokenizer.ggml.pre": "tekken"})


def test_rotated_rows_become_two_halves_in_each_head():
    rows = np.arange(8).reshape(8, 1)
    assert unpermute(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_llama_3s_scaling_is_told_as_its_config_does_and_any_other_refused():
    base, n = 500000.0, 32
    wavelengths = 2 * np.pi * base ** (np.arange(n) / n)
    factors = np.where(wavelengths > 8192, 32.0, 1.0)
    between = (wavelengths <= 8192) & (wavelengths >= 2048)
    smooth = (8192 / wavelengths - 1) / 3
    factors = np.where(between, 1 / ((1 - smooth) / 32 + smooth), factors)
    assert llama3_scaling(factors, base=base)["factor"] == 32
    with pytest.raises(ModelLoadFailed, match="a way of its own"):
        llama3_scaling(np.linspace(1, 4, n), base=base)


@pytest.mark.real_model
def test_with_mlx_alone_smollm2_is_pulled_and_answers(product, tmp_path: Path):
    own = product.clone(tmp_path / "state")
    own.environment["AIADMIN_PLUGINS"] = "mlx"
    own.run("rm", "smollm2")
    own.run("pull", "smollm2")
    assert "smollm2:latest" in own.run("list").stdout
    done = own.run("run", "smollm2", "What is the capital of France?", "--max-tokens", "8", "--temperature", "0")
    assert "Paris" in done.stdout
