"""Makes the models that tests load, out of the one GGUF a package index ships. Called by the fixtures in conftest.py.

The real model as safetensors in Hugging Face's layout, and a tiny llama of random weights with the real tokenizer in
both formats (the same weights), for behaviour that does not depend on sense. Needs numpy and gguf, no backend.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import gguf
import numpy as np

# GGUF tensor -> Hugging Face tensor, for the llama architecture; `{}` is the layer.
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "blk.{}.attn_norm.weight": "model.layers.{}.input_layernorm.weight",
    "blk.{}.attn_q.weight": "model.layers.{}.self_attn.q_proj.weight",
    "blk.{}.attn_k.weight": "model.layers.{}.self_attn.k_proj.weight",
    "blk.{}.attn_v.weight": "model.layers.{}.self_attn.v_proj.weight",
    "blk.{}.attn_output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "blk.{}.ffn_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "blk.{}.ffn_gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "blk.{}.ffn_up.weight": "model.layers.{}.mlp.up_proj.weight",
    "blk.{}.ffn_down.weight": "model.layers.{}.mlp.down_proj.weight",
}

TINY = {  # config.json of the tiny llama
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}

CONTROL = 3
"""`tokenizer.ggml.token_type` of a token that only a template may write."""


def cached(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """What `make` writes at the path it is given, made once for all workers, anew when this file changes."""
    stem, dot, suffix = name.partition(".")
    target = folder / f"{stem}-{sha256(Path(__file__).read_bytes()).hexdigest()[:8]}{dot}{suffix}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        workdir = Path(tempfile.mkdtemp(dir=folder))
        try:
            make(workdir / name)
            if not target.exists():
                (workdir / name).replace(target)
        except OSError:
            if not target.exists():  # another worker may have been first
                raise
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
    return target


def convert_to_safetensors(source: Path, folder: Path) -> None:
    """Write the llama in the GGUF `source` as a folder of bfloat16 safetensors."""
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    n_heads = {"attn_q": fields["llama.attention.head_count"], "attn_k": fields["llama.attention.head_count_kv"]}
    tensors = {}
    for tensor in reader.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        kind = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        tensors[_hugging_face_name(tensor.name)] = unpermute(weights, n_heads[kind]) if kind in n_heads else weights
    config = {
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": n_heads["attn_q"],
        "num_key_value_heads": n_heads["attn_k"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fields["llama.rope.freq_base"],
        "tie_word_embeddings": "lm_head.weight" not in tensors,
    }
    folder.mkdir()
    write_model_folder(folder, config, fields, {name: to_bfloat16(tensor) for name, tensor in tensors.items()})


def make_tiny_safetensors(source: Path, folder: Path) -> None:
    """Write the tiny llama with the tokenizer of the GGUF `source` as a folder of float32 safetensors."""
    fields = tokenizer_fields(source)
    folder.mkdir()
    write_model_folder(folder, TINY, fields, tiny_weights(len(fields["tokenizer.ggml.tokens"])))


def make_tiny_gguf(source: Path, path: Path, *, infill: tuple[int, int, int] | None = None) -> None:
    """Write the tiny llama with the tokenizer of the GGUF `source` as a GGUF of float32 tensors. `infill`: the tokens
    around a gap."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(TINY["num_hidden_layers"])
    writer.add_context_length(TINY["max_position_embeddings"])
    writer.add_embedding_length(TINY["hidden_size"])
    writer.add_feed_forward_length(TINY["intermediate_size"])
    writer.add_head_count(TINY["num_attention_heads"])
    writer.add_head_count_kv(TINY["num_key_value_heads"])
    writer.add_rope_freq_base(TINY["rope_theta"])
    writer.add_rope_dimension_count(TINY["hidden_size"] // TINY["num_attention_heads"])
    writer.add_layer_norm_rms_eps(TINY["rms_norm_eps"])
    reader = gguf.GGUFReader(source)
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for name, token in zip(("pre", "suf", "mid"), infill or (), strict=False):
        writer.add_uint32(f"tokenizer.ggml.fim_{name}_token_id", token)
    n_vocab = len(reader.fields["tokenizer.ggml.tokens"].contents())
    writer.add_vocab_size(n_vocab)
    n_heads = {"attn_q": TINY["num_attention_heads"], "attn_k": TINY["num_key_value_heads"]}
    names = {hf.format(i): name.format(i) for name, hf in NAMES.items() for i in range(TINY["num_hidden_layers"])}
    for name, tensor in tiny_weights(n_vocab).items():
        kind = names[name].split(".")[2] if names[name].startswith("blk.") else ""
        writer.add_tensor(names[name], permute(tensor, n_heads[kind]) if kind in n_heads else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tiny_weights(n_vocab: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random float32 tensors under Hugging Face's names: logits spread widely enough that no two come close, and an
    output matrix of its own, so that the model does not repeat its input."""
    random = np.random.default_rng(7)
    n_embd, n_hidden = TINY["hidden_size"], TINY["intermediate_size"]
    n_kv = n_embd // TINY["num_attention_heads"] * TINY["num_key_value_heads"]

    def matrix(n_out: int, n_in: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        return (random.standard_normal((n_out, n_in)) * scale / n_in**0.5).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": matrix(n_vocab, n_embd, 8.0),
        "model.norm.weight": np.ones(n_embd, np.float32),
        "lm_head.weight": matrix(n_vocab, n_embd, 3.0),
    }
    for layer in range(TINY["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = np.ones(n_embd, np.float32)
        shapes = {"q": (n_embd, n_embd), "k": (n_kv, n_embd), "v": (n_kv, n_embd), "o": (n_embd, n_embd)}
        for name, shape in shapes.items():
            tensors[f"{prefix}self_attn.{name}_proj.weight"] = matrix(*shape, 2.0)
        shapes = {"gate": (n_hidden, n_embd), "up": (n_hidden, n_embd), "down": (n_embd, n_hidden)}
        for name, shape in shapes.items():
            tensors[f"{prefix}mlp.{name}_proj.weight"] = matrix(*shape, 2.0)
    return tensors


def write_model_folder(
    folder: Path, config: Mapping[str, Any], fields: Mapping[str, Any], tensors: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Write config.json, the tokenizer's files and model.safetensors. `fields` is a GGUF's metadata."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    special = {name: fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "padding")}
    dtype = {2: "bfloat16", 4: "float32"}[next(iter(tensors.values())).itemsize]
    _write_json(
        folder / "config.json",
        {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": len(tokens),
            "bos_token_id": special["bos"],
            "eos_token_id": special["eos"],
            "torch_dtype": dtype,
            **config,
        },
    )
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[special["bos"]],
            "eos_token": tokens[special["eos"]],
            "pad_token": tokens[special["padding"]],
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "chat_template": fields["tokenizer.chat_template"],
        },
    )
    control = [token for token, kind in enumerate(types) if kind == CONTROL]
    added = {"special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}  # what `tokenizer.ggml.pre` calls "smollm"
    _write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": token, "content": tokens[token], **added} for token in control],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "vocab": {text: token for token, text in enumerate(tokens)},
                "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
            },
        },
    )
    write_safetensors(folder / "model.safetensors", tensors)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write `tensors` (float32, or uint16 holding bfloat16) in the format of https://github.com/huggingface/safetensors:
    the header's length as a little-endian uint64, the header as JSON, then the tensors' bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        dtype = "BF16" if tensor.dtype == np.uint16 else "F32"
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())


def unpermute(weights: np.ndarray[Any, Any], n_heads: int) -> np.ndarray[Any, Any]:
    """Undo llama.cpp's order of rotary dimensions: pairs side by side become two halves."""
    return weights.reshape(n_heads, -1, 2, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def permute(weights: np.ndarray[Any, Any], n_heads: int) -> np.ndarray[Any, Any]:
    """The inverse of `unpermute`."""
    return weights.reshape(n_heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def to_bfloat16(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Round float32 to bfloat16, to even, kept as uint16."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def tokenizer_fields(source: Path) -> dict[str, Any]:
    """The tokenizer's part of a GGUF's metadata."""
    fields = gguf.GGUFReader(source).fields
    return {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}


def _hugging_face_name(name: str) -> str:
    if not name.startswith("blk."):
        return NAMES[name]
    _, layer, rest = name.split(".", 2)
    return NAMES["blk.{}." + rest].format(layer)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
