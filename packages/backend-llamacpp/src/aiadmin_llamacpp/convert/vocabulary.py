"""A folder's tokenizer as the keys of a GGUF: byte-level BPE, whose pre-tokenizer is one that llama.cpp has. Pure but
for reading the folder's files.

llama.cpp knows pre-tokenizers by name, and convert_hf_to_gguf.py tells them by what they make of a text; here they are
told by how tokenizer.json declares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiadmin_core.errors import BadRequest

from .tensors import broken, read_json

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # llama_token_type in llama.h

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = {
    ("bytes",): "gpt-2",
    (_GPT2, "bytes"): "gpt-2",
    ("digit", "bytes"): "smollm",
    (_WORDS % "{1,3}", "bytes-only"): "llama-bpe",
    (_WORDS % "", "bytes-only"): "qwen2",
}
"""By its steps: a pattern to split at, each digit alone, the words of GPT-2 as bytes, bytes without splitting."""


@dataclass(kw_only=True)
class Vocabulary:
    """What the GGUF says of tokens."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str
    special: dict[str, int] = field(default_factory=dict)
    """`bos`, `eos`, `unk`, `pad`: ids."""
    add_bos: bool | None = None
    chat_template: str | None = None


def read_vocabulary(folder: Path, config: Mapping[str, Any], n_vocab: int) -> Vocabulary:
    """`n_vocab` is how many rows the embeddings have. Raises `BadRequest` for a tokenizer that is not converted."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _unknown("it has no tokenizer.json")
    data = read_json(path)
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    try:
        pre = _pre_tokenizer(data)
        tokens, types = _tokens(data, n_vocab)
        merges = [one if isinstance(one, str) else " ".join(one) for one in data["model"]["merges"]]
        ids = {text: index for index, text in enumerate(tokens)}
        return Vocabulary(
            tokens=tokens,
            types=types,
            merges=merges,
            pre=pre,
            special=_special(settings, config, ids),
            add_bos=_adds_bos(data, settings),
            chat_template=_chat_template(folder, settings),
        )
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise broken(path) from error


def _pre_tokenizer(data: Mapping[str, Any]) -> str:
    model, declared = data["model"], data.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece's" if model.get("byte_fallback") or model.get("type") == "Unigram" else model.get("type")
        raise _unknown(f"its tokenizer is {kind}")
    parts = declared.get("pretokenizers", [declared])
    steps = tuple(_step(part) for part in parts)
    if steps not in PRE_TOKENIZERS:
        raise _unknown("its pre-tokenizer is none that is known here")
    return PRE_TOKENIZERS[steps]


def _step(part: Mapping[str, Any]) -> str:
    match part.get("type"):
        case "ByteLevel" if not part.get("add_prefix_space"):
            return "bytes" if part.get("use_regex", True) else "bytes-only"
        case "Digits" if part.get("individual_digits"):
            return "digit"
        case "Split" if part.get("behavior") == "Isolated" and not part.get("invert"):
            return str(part["pattern"].get("Regex"))
    return str(part.get("type"))


def _tokens(data: Mapping[str, Any], n_vocab: int) -> tuple[list[str], list[int]]:
    """Texts and types by id, filled up to the embeddings' rows."""
    added = {one["id"]: one for one in data.get("added_tokens") or ()}
    texts = {index: text for text, index in data["model"]["vocab"].items()}
    texts |= {index: one["content"] for index, one in added.items()}
    n_tokens = max(n_vocab, max(texts) + 1)
    if n_tokens > n_vocab:
        raise BadRequest(
            f"The tokenizer has {n_tokens} tokens, and the model rows for {n_vocab} of them.",
            hint="The folder's files do not belong together: fetch the model again.",
            param="from",
        )
    tokens, types = [], []
    for index in range(n_tokens):
        tokens.append(texts.get(index, f"[PAD{index}]"))
        kind = CONTROL if added.get(index, {}).get("special") else USER_DEFINED if index in added else NORMAL
        types.append(kind if index in texts else UNUSED)
    return tokens, types


def _special(settings: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in ("bos", "eos", "unk", "pad"):
        text = settings.get(f"{name}_token")
        text = text.get("content") if isinstance(text, Mapping) else text
        by_config = config.get(f"{name}_token_id")
        by_config = by_config[0] if isinstance(by_config, list) and by_config else by_config
        if isinstance(text, str) and text in ids:
            found[name] = ids[text]
        elif isinstance(by_config, int) and 0 <= by_config < len(ids) and f"{name}_token" not in settings:
            found[name] = by_config
    return found


def _adds_bos(data: Mapping[str, Any], settings: Mapping[str, Any]) -> bool | None:
    """Whether a text begins with BOS: as the settings say, or the template of the post-processor."""
    if isinstance(settings.get("add_bos_token"), bool):
        return bool(settings["add_bos_token"])
    processor = data.get("post_processor") or {}
    for part in processor.get("processors", [processor]):
        if part.get("type") == "TemplateProcessing":
            return bool(part.get("single")) and "SpecialToken" in part["single"][0]
    return False


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    found = settings.get("chat_template")
    if isinstance(found, list):
        found = next((one["template"] for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _unknown(why: str) -> BadRequest:
    return BadRequest(
        f"The model cannot be converted to GGUF: {why}.",
        hint="Byte-level BPE is converted, of GPT-2, SmolLM, Llama 3 and Qwen 2 and 3. Take a GGUF of the model, or "
        "serve the folder with the MLX backend.",
        param="from",
    )
