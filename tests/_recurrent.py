"""Tiny models of random weights whose state cannot be cut: a recurrent one (Mamba) and a hybrid one (LFM2: short
convolutions and attention in turn), as GGUF files with the tokenizer of another."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

N_EMBD, N_LAYERS, N_HEADS = 64, 2, 4
D_CONV, D_INNER, D_STATE, DT_RANK, N_FF = 4, 128, 8, 4, 96


def write_recurrent(source: Path, path: Path) -> None:
    """Mamba (src/models/mamba.cpp of llama.cpp)."""
    writer, n_vocab, matrix = _begin(source, path, "mamba")
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(D_CONV)
    writer.add_ssm_inner_size(D_INNER)
    writer.add_ssm_state_size(D_STATE)
    writer.add_ssm_time_step_rank(DT_RANK)
    for layer in range(N_LAYERS):
        name = f"blk.{layer}."
        writer.add_tensor(f"{name}attn_norm.weight", np.ones(N_EMBD, np.float32))
        writer.add_tensor(f"{name}ssm_in.weight", matrix(2 * D_INNER, N_EMBD, 2.0))
        writer.add_tensor(f"{name}ssm_conv1d.weight", matrix(D_INNER, D_CONV, 2.0))
        writer.add_tensor(f"{name}ssm_conv1d.bias", np.zeros(D_INNER, np.float32))
        writer.add_tensor(f"{name}ssm_x.weight", matrix(DT_RANK + 2 * D_STATE, D_INNER, 2.0))
        writer.add_tensor(f"{name}ssm_dt.weight", matrix(D_INNER, DT_RANK, 1.0))
        writer.add_tensor(f"{name}ssm_dt.bias", np.full(D_INNER, -2.0, np.float32))
        writer.add_tensor(f"{name}ssm_a", -np.tile(np.arange(1, D_STATE + 1, dtype=np.float32), (D_INNER, 1)))
        writer.add_tensor(f"{name}ssm_d", np.ones(D_INNER, np.float32))
        writer.add_tensor(f"{name}ssm_out.weight", matrix(N_EMBD, D_INNER, 2.0))
    writer.add_tensor("output_norm.weight", np.ones(N_EMBD, np.float32))
    _end(writer, n_vocab, matrix)


def write_hybrid(source: Path, path: Path) -> None:
    """LFM2 (src/models/lfm2.cpp of llama.cpp): a layer of short convolutions, then one of attention."""
    writer, n_vocab, matrix = _begin(source, path, "lfm2")
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv([0, N_HEADS])
    writer.add_rope_freq_base(10000.0)
    writer.add_shortconv_l_cache(3)
    for layer in range(N_LAYERS):
        name = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{name}{norm}.weight", np.ones(N_EMBD, np.float32))
        for part, shape in {"gate": (N_FF, N_EMBD), "up": (N_FF, N_EMBD), "down": (N_EMBD, N_FF)}.items():
            writer.add_tensor(f"{name}ffn_{part}.weight", matrix(*shape, 2.0))
        if layer % 2 == 0:
            writer.add_tensor(f"{name}shortconv.conv.weight", matrix(N_EMBD, 3, 2.0))
            writer.add_tensor(f"{name}shortconv.in_proj.weight", matrix(3 * N_EMBD, N_EMBD, 2.0))
            writer.add_tensor(f"{name}shortconv.out_proj.weight", matrix(N_EMBD, N_EMBD, 2.0))
            continue
        for part in ("q", "k", "v", "output"):
            writer.add_tensor(f"{name}attn_{part}.weight", matrix(N_EMBD, N_EMBD, 2.0))
        for part in ("q", "k"):
            writer.add_tensor(f"{name}attn_{part}_norm.weight", np.ones(N_EMBD // N_HEADS, np.float32))
    writer.add_tensor("token_embd_norm.weight", np.ones(N_EMBD, np.float32))
    _end(writer, n_vocab, matrix)


def _begin(source: Path, path: Path, architecture: str) -> tuple[gguf.GGUFWriter, int, Any]:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"tiny-{architecture}")
    writer.add_block_count(N_LAYERS)
    writer.add_context_length(2048)
    writer.add_embedding_length(N_EMBD)
    writer.add_layer_norm_rms_eps(1e-5)
    reader = gguf.GGUFReader(source)
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    n_vocab = len(reader.fields["tokenizer.ggml.tokens"].contents())
    writer.add_vocab_size(n_vocab)
    random = np.random.default_rng(7)

    def matrix(n_out: int, n_in: int, scale: float) -> np.ndarray[Any, Any]:
        return (random.standard_normal((n_out, n_in)) * scale / n_in**0.5).astype(np.float32)

    return writer, n_vocab, matrix


def _end(writer: gguf.GGUFWriter, n_vocab: int, matrix: Any) -> None:
    writer.add_tensor("token_embd.weight", matrix(n_vocab, N_EMBD, 8.0))
    writer.add_tensor("output.weight", matrix(n_vocab, N_EMBD, 3.0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
