"""A folder of safetensors as a GGUF, weights as they are: one tensor at a time is in memory.

Called by `LlamaBackend.convert`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiadmin_core.backend import Report
from aiadmin_core.errors import BadRequest

from .. import bert
from .families import Family, Sizes, family_of, gguf_name, rope_factors, sizes_of
from .tensors import Stored, read_json, stored_in, weights_in
from .vocabulary import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from .tensors import Raw


def convert(folder: Path, target: Path, report: Report) -> None:
    """Write `target`. Raises `BadRequest` for a family, a tokenizer or a variant that is not known, and for what is
    broken; nothing is left of `target` then."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    if bert.is_bert(files):
        bert.convert(files, target)
        return
    config = read_json(folder / "config.json")
    family, sizes = family_of(config), sizes_of(config)
    if config.get("quantization") or config.get("quantization_config"):
        raise BadRequest("The folder's weights are quantized.", hint="Take the model they were made of.", param="from")
    stored = {name: one for path in weights_in(files) for one in stored_in(path) if (name := gguf_name(one.name))}
    _check(stored, sizes)
    vocabulary = read_vocabulary(folder, config, stored["token_embd.weight"].shape[0])
    try:
        _write(target, family, sizes, vocabulary, stored, report)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _check(stored: Mapping[str, Stored], sizes: Sizes) -> None:
    """Raise `BadRequest` where a tensor is missing: llama.cpp would only say so when it loads the model."""
    each = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    wanted = [f"blk.{layer}.{name}.weight" for layer in range(sizes.n_layers) for name in each]
    missing = [name for name in ("token_embd.weight", "output_norm.weight", *wanted) if name not in stored]
    if missing:
        raise BadRequest(
            f"The folder lacks {len(missing)} tensors of its model, {missing[0]} among them.",
            hint="The download may be incomplete: fetch the model again.",
            param="from",
        )


def _write(
    target: Path,
    family: Family,
    sizes: Sizes,
    vocabulary: Vocabulary,
    stored: Mapping[str, Stored],
    report: Report,
) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(target, family.name)
    _add_settings(writer, family, sizes)
    writer.add_file_type(_file_type(stored))
    _add_vocabulary(writer, vocabulary)
    arrays = dict(_arrays(family, sizes, stored))
    for name, (shape, kind, _) in arrays.items():
        writer.add_tensor_info(name, shape, np.dtype(np.float32), _n_bytes(shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total, done = sum(_n_bytes(shape, kind) for shape, kind, _ in arrays.values()), 0
    for shape, kind, make in arrays.values():
        writer.write_tensor_data(make())
        done += _n_bytes(shape, kind)
        report(done, total)
    writer.close()


def _add_settings(writer: "GGUFWriter", family: Family, sizes: Sizes) -> None:
    import gguf

    writer.add_context_length(sizes.n_ctx)
    writer.add_embedding_length(sizes.n_embd)
    writer.add_block_count(sizes.n_layers)
    writer.add_feed_forward_length(sizes.n_hidden)
    writer.add_head_count(sizes.n_heads)
    writer.add_head_count_kv(sizes.n_kv_heads)
    writer.add_key_length(sizes.n_head_dims)
    writer.add_value_length(sizes.n_head_dims)
    writer.add_layer_norm_rms_eps(sizes.rms_eps)
    writer.add_rope_freq_base(sizes.rope_base)
    writer.add_vocab_size(sizes.n_vocab)
    if family.pairs:
        writer.add_rope_dimension_count(sizes.n_head_dims)
    rope = sizes.rope
    if rope.get("rope_type") in ("linear", "yarn"):
        kinds = {"linear": gguf.RopeScalingType.LINEAR, "yarn": gguf.RopeScalingType.YARN}
        writer.add_rope_scaling_type(kinds[rope["rope_type"]])
        writer.add_rope_scaling_factor(float(rope["factor"]))
        if "original_max_position_embeddings" in rope:
            writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))


def _add_vocabulary(writer: "GGUFWriter", vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("llama" if vocabulary.scores else "gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.space_prefix)
    else:
        writer.add_token_merges(vocabulary.merges)
    add = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    for name, token in vocabulary.special.items():
        add[name](token)
    if vocabulary.add_bos is not None:
        writer.add_add_bos_token(vocabulary.add_bos)
    if vocabulary.chat_template is not None:
        writer.add_chat_template(vocabulary.chat_template)


def _arrays(family: Family, sizes: Sizes, stored: Mapping[str, Stored]) -> Iterator[tuple[str, Any]]:
    """Name, and shape, type and a function that reads it, of each tensor as it is written. Vectors are float32."""
    import gguf
    import numpy as np

    kinds = gguf.GGMLQuantizationType
    if factors := rope_factors(sizes):
        yield "rope_freqs.weight", ((len(factors),), kinds.F32, lambda: np.array(factors, np.float32))
    for name, one in stored.items():
        n_heads = _turned(name, family, sizes)
        if len(one.shape) == 1:
            kind = kinds.F32
            make = _vector(one, n_heads)
        else:
            kind = {"F32": kinds.F32, "F16": kinds.F16, "BF16": kinds.BF16}.get(one.dtype, kinds.F32)
            make = _matrix(one, n_heads)
        yield name, (one.shape, kind, make)


def _vector(one: Stored, n_heads: int) -> Any:
    import numpy as np

    return lambda: _paired(one.floats().astype(np.float32), n_heads)


def _matrix(one: Stored, n_heads: int) -> Any:
    return lambda: _paired(one.raw(), n_heads)


def _turned(name: str, family: Family, sizes: Sizes) -> int:
    """How many heads' rotary dimensions a tensor has; 0 for one that stays as it is."""
    part = name.split(".")[2] if name.startswith("blk.") else ""
    if not family.pairs:
        return 0
    return {"attn_q": sizes.n_heads, "attn_k": sizes.n_kv_heads}.get(part, 0)


def _paired(weights: "Raw", n_heads: int) -> "Raw":
    """Rows of rotary dimensions that lie in two halves, as pairs side by side."""
    if not n_heads:
        return weights
    halves = weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _file_type(stored: Mapping[str, Stored]) -> Any:
    import gguf

    kinds = {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16}
    return kinds.get(stored["token_embd.weight"].dtype, gguf.LlamaFileType.MOSTLY_BF16)


def _n_bytes(shape: tuple[int, ...], kind: Any) -> int:
    import math

    return math.prod(shape) * (4 if kind.name == "F32" else 2)
