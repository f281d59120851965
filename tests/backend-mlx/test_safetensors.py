"""What headers and configs tell without loading anything."""

import json
import struct

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_mlx.safetensors import (
    count_params,
    name_quantization,
    read_chat_template,
    read_folder,
    read_header,
    read_sampling,
    trained_context,
)

LAYER = {
    "l.weight": {"dtype": "U32", "shape": [64, 8], "data_offsets": [0, 2048]},
    "l.scales": {"dtype": "BF16", "shape": [64, 1], "data_offsets": [2048, 2176]},
    "l.biases": {"dtype": "BF16", "shape": [64, 1], "data_offsets": [2176, 2304]},
    "norm.weight": {"dtype": "BF16", "shape": [64], "data_offsets": [2304, 2432]},
}


def write(path, header, *, size=None):
    text = json.dumps(header).encode()
    end = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end if size is None else size))


def test_a_real_models_folder_is_read(smollm2_mlx):
    info = read_folder(smollm2_mlx)

    assert (info.format, info.architecture, info.n_params) == ("safetensors", "llama", 134_515_008)
    assert (info.n_ctx_train, info.n_embd, info.quantization) == (8192, 576, "BF16")
    assert "<|im_start|>" in info.chat_template


def test_packed_weights_count_as_what_they_stand_for():
    assert count_params(LAYER, {"bits": 4, "group_size": 64}) == 64 * 64 + 64
    assert name_quantization(LAYER, {"bits": 4, "group_size": 64}) == "4-bit"
    assert name_quantization(LAYER, {"bits": 4, "mode": "mxfp4"}) == "mxfp4 4-bit"
    assert name_quantization(LAYER, {"quant_method": "fp8"}) == "fp8"
    assert name_quantization({}, {}) == ""


def test_shards_are_added_up_and_nested_configs_found(tmp_path):
    for index in (1, 2):
        name = f"layer{index}.weight"
        tensor = {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]}
        write(tmp_path / f"model-{index}.safetensors", {"__metadata__": {"format": "pt"}, name: tensor})
    text_config = {"hidden_size": 4, "max_position_embeddings": 99}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text_config}))

    info = read_folder(tmp_path)

    assert (info.n_params, info.n_embd, info.n_ctx_train, info.architecture) == (32, 4, 99, "gemma3")


def test_a_file_that_was_cut_is_refused(tmp_path):
    write(tmp_path / "model.safetensors", LAYER, size=100)

    with pytest.raises(BadRequest, match="it ends after"):
        read_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "content",
    [b"", b"1234567", struct.pack("<Q", 10) + b"{", struct.pack("<Q", 2**60), struct.pack("<Q", 2) + b"[]",
     struct.pack("<Q", 8) + b'{"a": 1}'],
)  # fmt: skip
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(BadRequest, match="no whole safetensors file"):
        read_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", ["", "[1]", "{", "\x00"])
def test_a_broken_config_is_refused(tmp_path, content):
    write(tmp_path / "model.safetensors", LAYER)
    (tmp_path / "config.json").write_text(content)

    with pytest.raises(BadRequest, match=r"config\.json"):
        read_folder(tmp_path)


def test_a_template_file_comes_before_the_tokenizers_own(tmp_path):
    assert read_chat_template(tmp_path) is None
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": [{"name": "tool_use", "template": "T"}]}))
    assert read_chat_template(tmp_path) is None
    config.write_text(json.dumps({"chat_template": [{"name": "default", "template": "D"}]}))
    assert read_chat_template(tmp_path) == "D"
    (tmp_path / "chat_template.jinja").write_text("J")
    assert read_chat_template(tmp_path) == "J"


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 2.0}}, 8192),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
            },
            131072,
        ),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": "2"}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "mrope", "mrope_section": [1]}}, 4096),
        ({}, 0),
    ],
)
def test_scaled_positions_count(config, trained):
    assert trained_context(config) == trained


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ('{"temperature": 0.6, "top_p": 0.95, "top_k": 20, "do_sample": true}',
         {"temperature": 0.6, "top_p": 0.95, "top_k": 20}),
        ('{"repetition_penalty": 1.05, "max_new_tokens": 20, "eos_token_id": [1, 2]}', {"repeat_penalty": 1.05}),
        ('{"do_sample": false, "top_p": 0.9}', {"top_p": 0.9, "temperature": 0.0}),
        ('{"temperature": "hot", "top_p": null, "top_k": true, "min_p": NaN}', {}),
        ("[]", {}),
        ("{", {}),
    ],
)  # fmt: skip
def test_the_sampling_a_folder_recommends_is_read(tmp_path, text, parameters):
    (tmp_path / "generation_config.json").write_text(text)
    assert read_sampling(tmp_path) == parameters


def test_a_folder_need_recommend_nothing(tmp_path):
    assert read_sampling(tmp_path) == {}


@pytest.mark.parametrize(
    ("files", "index", "missing"),
    [
        (["model.safetensors"], {}, None),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], {}, None),
        (["model-00001-of-00002.safetensors"], {}, "model-00002-of-00002"),
        (["model-00002-of-00003.safetensors"], {}, "model-00001-of-00003.safetensors, model-00003"),
        (["a.safetensors"], {"x": "a.safetensors", "y": "b.safetensors"}, r"1 of .* missing: b\.safetensors"),
        (["a.safetensors"], {"x": "a.safetensors", "y": 5}, None),
    ],
)
def test_a_weight_file_that_is_missing_is_named(tmp_path, files, index, missing):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for name in files:
        write(tmp_path / name, {"w": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}})
    if missing is None:
        assert read_folder(tmp_path).n_params
        return
    with pytest.raises(BadRequest, match=missing):
        read_folder(tmp_path)
