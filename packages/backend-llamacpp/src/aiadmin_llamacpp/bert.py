"""BERT encoders as sentence-transformers publishes them (a folder of config.json, vocab.txt and safetensors), made the
GGUF that llama.cpp loads. Used while such a model is being loaded: the store keeps what its maker published.

Names and keys as in llama.cpp's convert_hf_to_gguf.py (`BertModel`). Needs numpy and gguf where it converts.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ARCHITECTURE = "bert"
CONFIG, VOCABULARY, POOLING = "config.json", "vocab.txt", "1_Pooling/config.json"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
DTYPES = {"F32": "<f4", "F16": "<f2"}

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
    config = _read_json(files[CONFIG])
    tensors = [found for path in _weights(files) for _, found in _entries(path)]
    kinds = {found["dtype"] for found in tensors if len(found["shape"]) > 1}
    return ModelInfo(
        format="safetensors",
        architecture=ARCHITECTURE,
        n_params=sum(_n_elements(found["shape"]) for found in tensors),
        n_ctx_train=_count(config, "max_position_embeddings"),
        n_embd=_count(config, "hidden_size"),
        quantization=kinds.pop() if len(kinds) == 1 else "",
        metadata=config,
    )


def convert(files: Mapping[str, Path], target: Path) -> None:
    """Write `target`: matrices in float16, the rest in float32.

    Raises `BadRequest` for what is broken, and for variants that llama.cpp would compute otherwise.
    """
    import gguf
    import numpy as np

    config = _read_json(files[CONFIG])
    _refuse_variants(config, _read_json(files["tokenizer_config.json"]) if "tokenizer_config.json" in files else {})
    writer = gguf.GGUFWriter(target, ARCHITECTURE)
    writer.add_context_length(_count(config, "max_position_embeddings"))
    writer.add_embedding_length(_count(config, "hidden_size"))
    writer.add_feed_forward_length(_count(config, "intermediate_size"))
    writer.add_block_count(_count(config, "num_hidden_layers"))
    writer.add_head_count(_count(config, "num_attention_heads"))
    writer.add_layer_norm_eps(float(config.get("layer_norm_eps", 1e-12)))
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType(_pooling(files)))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, files[VOCABULARY].read_text("utf-8").split("\n"), _count(config, "vocab_size"))
    for path in _weights(files):
        for name, tensor in _tensors(path):
            if (known := gguf_name(name)) is not None:
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
    config = _read_json(files[POOLING]) if POOLING in files else {"pooling_mode_mean_tokens": True}
    modes = {key.removeprefix("pooling_mode_") for key, value in config.items() if value is True}
    if "mean_tokens" in modes:
        return MEAN
    if "cls_token" in modes:
        return CLS
    raise BadRequest("This model pools in a way that llama.cpp has not.", hint="The mean and [CLS] can be served.")


def _weights(files: Mapping[str, Path]) -> list[Path]:
    return [path for name, path in sorted(files.items()) if name.endswith(".safetensors")]


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name, and dtype, shape, first and last byte (of the file) of each tensor. Raises `BadRequest`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        n = int.from_bytes(file.read(8), "little")
        if not 0 < n <= min(size - 8, MAX_HEADER_BYTES):
            raise _broken(path)
        try:
            header = json.loads(file.read(n))
            for name, found in header.items():
                if name != "__metadata__":
                    start, end = (8 + n + offset for offset in found["data_offsets"])
                    width = int(found["dtype"].lstrip("BFIU") or 8) // 8
                    if end > size or end - start != _n_elements(found["shape"]) * width:
                        raise _broken(path)
                    yield name, {"dtype": found["dtype"], "shape": found["shape"], "start": start, "end": end}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _broken(path) from None


def _tensors(path: Path) -> "Iterator[tuple[str, npt.NDArray[np.floating[Any]]]]":
    """Read where they lie: nothing is in memory before it is written."""
    import numpy as np

    for name, found in _entries(path):
        shape, start = tuple(found["shape"]), found["start"]
        if found["dtype"] in DTYPES:
            yield name, np.memmap(path, DTYPES[found["dtype"]], "r", start, shape)
        elif found["dtype"] == "BF16":
            halves = np.memmap(path, "<u2", "r", start, shape)
            yield name, (halves.astype(np.uint32) << 16).view(np.float32)
        elif gguf_name(name) is not None:
            raise BadRequest(f"'{path.name}' holds {name} as {found['dtype']}, which is no float.")


def _n_elements(shape: list[int]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n


def _count(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadRequest(f"The model's config.json says {name} {value!r}.", hint="Fetch the model again.")
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _broken(path)
    return value


def _broken(path: Path) -> BadRequest:
    return BadRequest(f"'{path.name}' is broken.", hint="The download may be incomplete: fetch the model again.")
