"""A GGUF's vocabulary as tokenizer.json and tokenizer_config.json have it. Pure.

Byte-level BPE alone, with the rules of splitting text that `tokenizer.ggml.pre` names (llama.cpp: `llama_vocab`).
"""

from collections.abc import Mapping
from typing import Any

from aiadmin_core.errors import ModelLoadFailed

CONTROL, USER_DEFINED = 3, 4
"""`tokenizer.ggml.token_type`."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS: dict[str, str] = {
    "llama-bpe": rf"{_WORDS}|\p{{N}}{{1,3}}{_REST}",
    "llama3": rf"{_WORDS}|\p{{N}}{{1,3}}{_REST}",
    "qwen2": rf"{_WORDS}|\p{{N}}{_REST}",
}
_DIGITS = {"type": "Digits", "individual_digits": True}
_PLAIN = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}


def tokenizer_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Raises `ModelLoadFailed` for a vocabulary of another kind."""
    kind = fields.get("tokenizer.ggml.model")
    if kind != "gpt2" or "tokenizer.ggml.merges" not in fields:
        raise ModelLoadFailed(
            f"The file's vocabulary is of the kind '{kind}', of which no tokenizer for MLX is made.",
            hint="Serve it with llama.cpp (`pip install aiadmin-backend-llamacpp`), or pull the model as safetensors.",
        )
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    flags = {"normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    added = [
        {"id": token, "content": tokens[token], "special": kind == CONTROL, **flags}
        for token, kind in enumerate(types)
        if kind in (CONTROL, USER_DEFINED)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(str(fields.get("tokenizer.ggml.pre", "default"))),
        "post_processor": None,
        "decoder": _PLAIN,
        "model": {
            "type": "BPE",
            "vocab": {text: token for token, text in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in fields["tokenizer.ggml.merges"]],
            "ignore_merges": str(fields.get("tokenizer.ggml.pre")) in ("llama-bpe", "llama3"),
        },
    }


def tokenizer_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    said = {
        f"{ours}_token": tokens[token]
        for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
        if isinstance(token := fields.get(f"tokenizer.ggml.{theirs}_token_id"), int) and token < len(tokens)
    }
    return said | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": bool(fields.get("tokenizer.ggml.add_bos_token", False)),
        "clean_up_tokenization_spaces": False,
        "chat_template": fields.get("tokenizer.chat_template"),
    }


def _pre_tokenizer(name: str) -> dict[str, Any]:
    if name in _SPLITS:
        split = {"type": "Split", "pattern": {"Regex": _SPLITS[name]}, "behavior": "Isolated", "invert": False}
        return {"type": "Sequence", "pretokenizers": [split, {**_PLAIN, "use_regex": False}]}
    if name in ("smollm", "starcoder", "refact", "command-r"):
        return {"type": "Sequence", "pretokenizers": [_DIGITS, _PLAIN]}
    if name in ("default", "gpt-2"):
        return _PLAIN
    raise ModelLoadFailed(
        f"The file's vocabulary splits text as '{name}' does, which no tokenizer for MLX is made of.",
        hint="Serve it with llama.cpp (`pip install aiadmin-backend-llamacpp`), or pull the model as safetensors.",
    )
