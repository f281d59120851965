"""A llama in a GGUF file, of whatever quantization, as a folder that mlx-lm loads. Used while a model is loaded.

Weights become bfloat16 (float32 where the file has them so): MLX has no kernels for most of GGUF's types, and on
processors 16 bits are the fastest it has. One tensor is in memory at a time.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

from aiadmin_core.errors import ModelLoadFailed

from .header import ARCHITECTURES, open_reader, read_fields
from .tensors import ROPE_FACTORS, Array, llama3_scaling, n_heads_of, name_of, to_bfloat16, unpermute
from .vocabulary import tokenizer_config, tokenizer_json


def convert(path: Path, folder: Path) -> None:
    """Write config.json, the tokenizer's files and model.safetensors. Raises `ModelLoadFailed`, `BadRequest`,
    `OSError`."""
    reader = open_reader(path)
    fields = read_fields(reader)
    name = str(fields.get("general.architecture", ""))
    if name not in ARCHITECTURES:
        raise ModelLoadFailed(
            f"'{path.name}' is of the architecture '{name}', which is not converted for MLX.",
            hint="Serve it with llama.cpp (`pip install aiadmin-backend-llamacpp`), or pull the model as safetensors.",
        )
    config = config_json(reader, fields)
    _write(folder / "config.json", config)
    _write(folder / "tokenizer.json", tokenizer_json(fields))
    _write(folder / "tokenizer_config.json", tokenizer_config(fields))
    _write_weights(folder / "model.safetensors", reader, config)


def config_json(reader: GGUFReader, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Raises `ModelLoadFailed` for a header without what a llama needs."""
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def said(key: str, default: Any = None) -> Any:
        value = fields.get(f"llama.{key}", default)
        if value is None or isinstance(value, list):
            raise ModelLoadFailed(
                f"The file's header has no single number 'llama.{key}'.", hint="Pull the model as safetensors."
            )
        return value

    n_heads, n_embd = said("attention.head_count"), said("embedding_length")
    base = float(said("rope.freq_base", 10000.0))
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": n_embd,
        "intermediate_size": said("feed_forward_length"),
        "num_hidden_layers": said("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": said("attention.head_count_kv", n_heads),
        "head_dim": said("attention.key_length", n_embd // n_heads),
        "max_position_embeddings": said("context_length"),
        "rms_norm_eps": said("attention.layer_norm_rms_epsilon"),
        "rope_theta": base,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "torch_dtype": "float32" if _keeps_float32(reader) else "bfloat16",
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": fields.get("tokenizer.ggml.eos_token_id"),
    }
    if ROPE_FACTORS in tensors:
        config["rope_scaling"] = llama3_scaling(np.asarray(tensors[ROPE_FACTORS].data, np.float32), base=base)
    return config


def _keeps_float32(reader: GGUFReader) -> bool:
    return all(tensor.tensor_type == GGMLQuantizationType.F32 for tensor in reader.tensors)


def _write_weights(path: Path, reader: GGUFReader, config: Mapping[str, Any]) -> None:
    """The format: https://github.com/huggingface/safetensors#format"""
    kind, width = ("F32", 4) if config["torch_dtype"] == "float32" else ("BF16", 2)
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for tensor in reader.tensors:
        if (name := name_of(tensor.name)) is not None:
            start, end = end, end + int(tensor.n_elements) * width
            shape = [int(n) for n in reversed(tensor.shape)]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for weights in _weights(reader, config):
            file.write((weights if width == 4 else to_bfloat16(weights)).tobytes())


def _weights(reader: GGUFReader, config: Mapping[str, Any]) -> Iterator[Array]:
    """float32, in the order of the file."""
    for tensor in reader.tensors:
        if name_of(tensor.name) is None:
            continue
        try:
            weights = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        except NotImplementedError as error:
            raise ModelLoadFailed(
                f"The file has weights of the type {tensor.tensor_type.name}, which nobody here can read.",
                hint="Serve it with llama.cpp: `pip install aiadmin-backend-llamacpp`.",
            ) from error
        n_heads = n_heads_of(tensor.name, config["num_attention_heads"], config["num_key_value_heads"])
        yield unpermute(weights, n_heads) if n_heads else weights


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
