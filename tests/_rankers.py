"""Writes tiny models of random weights that rank documents, as GGUF files. Needs numpy and gguf, no backend."""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

N_EMBD, N_HIDDEN, N_HEADS, N_CTX = 32, 64, 2, 64
Weights = dict[str, np.ndarray[Any, Any]]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *("\u2581" + letter for letter in string.ascii_lowercase), *string.ascii_lowercase]
"""A vocabulary of letters, at the beginning of a word and within one, as llama.cpp writes WordPiece."""


def bert_weights(n_vocab: int = len(WORDS), *, n_classes: int = 1) -> Weights:
    """By the names of a GGUF, float32; matrices are [out, in]."""
    random = np.random.default_rng(11)

    def matrix(*shape: int) -> np.ndarray[Any, Any]:
        return (random.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    weights: Weights = {
        "token_embd.weight": matrix(n_vocab, N_EMBD) * 6,
        "position_embd.weight": matrix(N_CTX, N_EMBD) * 3,
        "token_types.weight": matrix(2, N_EMBD),
    }
    shapes = {"attn_q": (N_EMBD, N_EMBD), "attn_k": (N_EMBD, N_EMBD), "attn_v": (N_EMBD, N_EMBD)}
    shapes |= {"attn_output": (N_EMBD, N_EMBD), "ffn_up": (N_HIDDEN, N_EMBD), "ffn_down": (N_EMBD, N_HIDDEN)}
    for name, shape in {**{f"blk.0.{name}": shape for name, shape in shapes.items()}, "cls": (N_EMBD, N_EMBD)}.items():
        weights |= {f"{name}.weight": matrix(*shape) * 2, f"{name}.bias": matrix(shape[0])}
    weights |= {"cls.output.weight": matrix(n_classes, N_EMBD) * 3, "cls.output.bias": matrix(n_classes)}
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        weights |= {f"{name}.weight": np.ones(N_EMBD, np.float32), f"{name}.bias": np.zeros(N_EMBD, np.float32)}
    return weights


def write_bert(path: Path, *, without: Sequence[str] = (), n_classes: int = 1) -> None:
    """One that reads words of letters. `without`: tensors to be left out."""
    writer = _bert_writer(path)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in WORDS])
    for name, add in (
        ("[PAD]", writer.add_pad_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[MASK]", writer.add_mask_token_id),
    ):
        add(SPECIAL.index(name))
    if n_classes > 1:
        writer.add_classifier_output_labels([f"label {n}" for n in range(n_classes)])
    _finish(writer, {k: v for k, v in bert_weights(n_classes=n_classes).items() if k not in without})


def write_roberta(path: Path, source: Path) -> None:
    """The same layers behind the byte-level vocabulary of the GGUF `source`, between <s> and </s>: two of those stand
    between texts."""
    writer = _bert_writer(path)
    n_vocab = _copy_tokenizer(writer, source)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_add_sep_token(True)
    writer.add_sep_token_id(2)
    _finish(writer, bert_weights(n_vocab))


def write_qwen3(path: Path, source: Path, template: str) -> None:
    """A generating model with a head of two classes, yes and no, and the vocabulary of the GGUF `source`."""
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(N_HIDDEN)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    n_vocab = _copy_tokenizer(writer, source)
    writer.add_chat_template([{"name": "rerank", "template": template}])
    random = np.random.default_rng(13)

    def matrix(*shape: int) -> np.ndarray[Any, Any]:
        return (random.standard_normal(shape) * 2 / shape[-1] ** 0.5).astype(np.float32)

    head = N_EMBD // N_HEADS
    weights = {"token_embd.weight": matrix(n_vocab, N_EMBD), "cls.output.weight": matrix(2, N_EMBD)}
    weights |= {f"blk.0.attn_{name}.weight": matrix(N_EMBD, N_EMBD) for name in ("q", "k", "v", "output")}
    weights |= {f"blk.0.ffn_{name}.weight": matrix(N_HIDDEN, N_EMBD) for name in ("gate", "up")}
    weights |= {"blk.0.ffn_down.weight": matrix(N_EMBD, N_HIDDEN)}
    ones = {"output_norm": N_EMBD, "blk.0.attn_norm": N_EMBD, "blk.0.ffn_norm": N_EMBD}
    ones |= {"blk.0.attn_q_norm": head, "blk.0.attn_k_norm": head}
    _finish(writer, weights | {f"{name}.weight": np.ones(n, np.float32) for name, n in ones.items()})


def logit(tokens: Sequence[int], weights: Mapping[str, np.ndarray[Any, Any]]) -> float:
    """What the BERT of `weights` says of a pair, computed in float64."""
    w = {name: tensor.astype(np.float64) for name, tensor in weights.items()}

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)

    def heads(x: Any) -> Any:
        return x.reshape(len(tokens), N_HEADS, -1).swapaxes(0, 1)

    embedded = w["token_embd.weight"][list(tokens)] + w["position_embd.weight"][: len(tokens)]
    x = norm(embedded + w["token_types.weight"][0])
    q, k, v = (heads(linear(x, f"blk.0.attn_{name}")) for name in "qkv")
    attention = np.exp(q @ k.swapaxes(1, 2) / (N_EMBD // N_HEADS) ** 0.5)
    mixed = (attention / attention.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(tokens), N_EMBD)
    x = norm(linear(mixed, "blk.0.attn_output") + x)
    inner = linear(x, "blk.0.ffn_up")
    inner = inner * 0.5 * (1 + np.tanh((2 / np.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    x = norm(linear(inner, "blk.0.ffn_down") + x)
    return float(linear(np.tanh(linear(x[0], "cls")), "cls.output")[0])


def _bert_writer(path: Path) -> Any:
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(N_HIDDEN)
    writer.add_block_count(1)
    writer.add_head_count(N_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_token_type_count(2)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    return writer


def _copy_tokenizer(writer: Any, source: Path) -> int:
    """Gives the size of the vocabulary."""
    fields = gguf.GGUFReader(source).fields
    skipped = ("chat_template", "add_bos_token", "add_eos_token", "add_sep_token")
    for name, field in fields.items():
        if name.startswith("tokenizer.") and not name.endswith(skipped):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    return len(fields["tokenizer.ggml.tokens"].contents())


def _finish(writer: Any, weights: Weights) -> None:
    for name, tensor in weights.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
