"""BERT encoders as sentence-transformers publishes them (a folder of config.json, vocab.txt and safetensors), made the
GGUF that llama.cpp loads. Used while such a model is being loaded: the store keeps what its maker published.

Names and keys as in llama.cpp's convert_hf_to_gguf.py (`BertModel`). Needs numpy and gguf where it converts.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import ModelSpec

from .convert.tensors import count, read_json, stored_in, weights_in

ARCHITECTURE = "bert"
CONFIG, VOCABULARY, POOLING = "config.json", "vocab.txt", "1_Pooling/config.json"

MEAN, CLS = 1, 2  # llama_pooling_type in llama.h
NORMAL, CONTROL = 1, 3  # token types in llama.h
_WORD = "\u2581"
"""Stands before what begins a word; WordPiece marks what does not, by ##."""

_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_LAYER_NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def files_of(model: ModelSpec) -> dict[str, Path]:
    """A model's files by what they are called in its folder."""
    return {file.name or Path(file.path).name: Path(file.path) for file in model.files}


def is_bert(files: Mapping[str, Path]) -> bool:
    """Whether they are an encoder that `convert` takes. Reads the configuration."""
    try:
        config = json.loads(files[CONFIG].read_text("utf-8"))
    except (KeyError, OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == ARCHITECTURE and VOCABULARY in files


def model_info(files: Mapping[str, Path]) -> ModelInfo:
    """What its headers say. Raises `BadRequest` where one is broken."""
    config = read_json(files[CONFIG])
    tensors = [found for path in weights_in(files) for found in stored_in(path)]
    kinds = {found.dtype for found in tensors if len(found.shape) > 1}
    return ModelInfo(
        format="safetensors",
        architecture=ARCHITECTURE,
        n_params=sum(found.n_elements for found in tensors),
        n_ctx_train=count(config, "max_position_embeddings"),
        n_embd=count(config, "hidden_size"),
        quantization=kinds.pop() if len(kinds) == 1 else "",
        metadata=config,
    )


def convert(files: Mapping[str, Path], target: Path) -> None:
    """Write `target`: matrices in float16, the rest in float32.

    Raises `BadRequest` for what is broken, and for variants that llama.cpp would compute otherwise.
    """
    import gguf
    import numpy as np

    config = read_json(files[CONFIG])
    _refuse_variants(config, read_json(files["tokenizer_config.json"]) if "tokenizer_config.json" in files else {})
    writer = gguf.GGUFWriter(target, ARCHITECTURE)
    writer.add_context_length(count(config, "max_position_embeddings"))
    writer.add_embedding_length(count(config, "hidden_size"))
    writer.add_feed_forward_length(count(config, "intermediate_size"))
    writer.add_block_count(count(config, "num_hidden_layers"))
    writer.add_head_count(count(config, "num_attention_heads"))
    writer.add_layer_norm_eps(float(config.get("layer_norm_eps", 1e-12)))
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType(_pooling(files)))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, files[VOCABULARY].read_text("utf-8").split("\n"), count(config, "vocab_size"))
    for path in weights_in(files):
        for stored in stored_in(path):
            if (known := gguf_name(stored.name)) is not None:
                tensor = stored.floats()
                is_matrix = tensor.ndim > 1 and known != "token_types.weight" and known != "position_embd.weight"
                writer.add_tensor(known, tensor.astype(np.float16 if is_matrix else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str | None:
    """Of a tensor; None for one that has no part in a text's vector (the pooler is for classifying)."""
    stem, _, kind = name.removeprefix("bert.").rpartition(".")
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{kind}"
    head, _, rest = stem.removeprefix("encoder.layer.").partition(".")
    if stem.startswith("encoder.layer.") and head.isdecimal() and rest in _LAYER_NAMES:
        return f"blk.{head}.{_LAYER_NAMES[rest]}.{kind}"
    return None


def phantom_space(token: str) -> str:
    """A token of WordPiece as llama.cpp writes it."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else _WORD + token


def _add_vocabulary(writer: Any, lines: list[str], n_vocab: int) -> None:
    tokens = [line.rstrip("\r") for line in lines[:n_vocab]]
    tokens += [f"[PAD{index}]" for index in range(len(tokens), n_vocab)]
    special = {name: tokens.index(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if name in tokens}
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list([phantom_space(token) for token in tokens])
    writer.add_token_types([CONTROL if index in special.values() else NORMAL for index in range(n_vocab)])
    for name, add in (
        ("[PAD]", writer.add_pad_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[MASK]", writer.add_mask_token_id),
    ):
        if name in special:
            add(special[name])


def _refuse_variants(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    """llama.cpp computes one BERT: lower case, GELU, positions by number."""
    for name, found, wanted in (
        ("hidden_act", config.get("hidden_act", "gelu"), "gelu"),
        ("position_embedding_type", config.get("position_embedding_type", "absolute"), "absolute"),
        ("do_lower_case", tokenizer.get("do_lower_case", True), True),
    ):
        if found != wanted:
            raise BadRequest(f"This BERT has {name} {found!r}; only {wanted!r} can be served.")


def _pooling(files: Mapping[str, Path]) -> int:
    """How sentence-transformers makes a text's vectors one; the mean where nothing is said."""
    config = read_json(files[POOLING]) if POOLING in files else {"pooling_mode_mean_tokens": True}
    modes = {key.removeprefix("pooling_mode_") for key, value in config.items() if value is True}
    if "mean_tokens" in modes:
        return MEAN
    if "cls_token" in modes:
        return CLS
    raise BadRequest("This model pools in a way that llama.cpp has not.", hint="The mean and [CLS] can be served.")
