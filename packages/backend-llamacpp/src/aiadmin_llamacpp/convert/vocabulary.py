"""A folder's tokenizer as the keys of a GGUF: byte-level BPE, whose pre-tokenizer is one that llama.cpp has, or
SentencePiece's BPE. Pure but for reading the folder's files: tokenizer.json, else tokenizer.model (`pieces`).

llama.cpp knows pre-tokenizers by name, and convert_hf_to_gguf.py tells them by what they make of a text; here they are
told by how tokenizer.json declares them. SentencePiece joins the two pieces whose whole has the best score; in
tokenizer.json the scores have become the order of the merges, and they are made of that again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiadmin_core.errors import BadRequest

from .pieces import FILE, added_tokens, read_pieces
from .tensors import broken, read_json

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # llama_token_type in llama.h
UNUSED_SCORE = -1000.0
"""Of tokens that no text is cut into."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")

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
    scores: list[float] = field(default_factory=list)
    """SentencePiece's; without them it is byte-level BPE."""
    space_prefix: bool = True
    """Whether a text is read as if a space stood before it (SentencePiece)."""
    special: dict[str, int] = field(default_factory=dict)
    """`bos`, `eos`, `unk`, `pad`: ids."""
    add_bos: bool | None = None
    chat_template: str | None = None


def read_vocabulary(folder: Path, config: Mapping[str, Any], n_vocab: int) -> Vocabulary:
    """`n_vocab` is how many rows the embeddings have. Raises `BadRequest` for a tokenizer that is not converted."""
    path = folder / "tokenizer.json"
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    if not path.is_file():
        return _of_pieces(folder, settings, config, n_vocab)
    data = read_json(path)
    try:
        is_spm = _is_spm(data)
        pre = "default" if is_spm else _pre_tokenizer(data)
        tokens, types = _tokens(data, n_vocab)
        merges = [one if isinstance(one, str) else " ".join(one) for one in data["model"]["merges"]]
        ids = {text: index for index, text in enumerate(tokens)}
        return Vocabulary(
            tokens=tokens,
            types=types,
            merges=merges,
            pre=pre,
            scores=_scores(tokens, merges) if is_spm else [],
            space_prefix=_prefixes_space(data),
            special=_special(settings, config, ids),
            add_bos=_adds_bos(data, settings),
            chat_template=_chat_template(folder, settings),
        )
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise broken(path) from error


def _of_pieces(folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any], n_vocab: int) -> Vocabulary:
    path = folder / FILE
    if not path.is_file():
        raise _unknown(f"it has neither tokenizer.json nor {FILE}")
    pieces = read_pieces(path)
    if pieces.objection:
        raise _unknown(pieces.objection)
    try:
        added = added_tokens(folder, settings)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise broken(folder / "tokenizer_config.json") from error
    texts = dict(enumerate(pieces.texts)) | {index: text for index, (text, _) in added.items()}
    kinds = {index: CONTROL if special else USER_DEFINED for index, (_, special) in added.items()}
    kinds |= enumerate(pieces.types)
    tokens, types = _filled_up(texts, n_vocab, kinds.__getitem__)
    adds_bos = settings.get("add_bos_token")
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=[],
        pre="default",
        scores=[*pieces.scores, *[UNUSED_SCORE] * (len(tokens) - len(pieces.scores))],
        space_prefix=pieces.space_prefix,
        special=pieces.special | _special(settings, config, {text: index for index, text in enumerate(tokens)}),
        add_bos=adds_bos if isinstance(adds_bos, bool) else True,
        chat_template=_chat_template(folder, settings),
    )


def _is_spm(data: Mapping[str, Any]) -> bool:
    """Whether it is SentencePiece's BPE: what has no piece becomes bytes, and spaces are written as U+2581."""
    model = data["model"]
    return model.get("type") == "BPE" and bool(model.get("byte_fallback")) and "<0x00>" in model["vocab"]


def _scores(tokens: Sequence[str], merges: Sequence[str]) -> list[float]:
    """The earlier a piece is joined, the better; what is never joined of two is no matter."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        left, _, right = merge.partition(" ")
        ranks.setdefault(left + right, rank)
    return [-float(ranks[text]) if text in ranks else -float(len(merges)) for text in tokens]


def _prefixes_space(data: Mapping[str, Any]) -> bool:
    """As the normaliser puts one before a text, or the pre-tokenizer does."""
    normalizer, splitter = data.get("normalizer") or {}, data.get("pre_tokenizer") or {}
    parts = normalizer.get("normalizers", [normalizer])
    if any(part.get("type") == "Prepend" for part in parts):
        return True
    return splitter.get("type") == "Metaspace" and splitter.get("prepend_scheme") in ("always", "first")


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
    return _filled_up(texts, n_vocab, lambda index: _kind(texts[index], added.get(index), data["model"]))


def _filled_up(texts: Mapping[int, str], n_vocab: int, kind: Callable[[int], int]) -> tuple[list[str], list[int]]:
    """Texts and types of as many tokens as the embeddings have rows; `kind` says what one of `texts` is."""
    n_tokens = max(n_vocab, max(texts) + 1)
    if n_tokens > n_vocab:
        raise BadRequest(
            f"The tokenizer has {n_tokens} tokens, and the model rows for {n_vocab} of them.",
            hint="The folder's files do not belong together: fetch the model again.",
            param="from",
        )
    tokens = [texts.get(index, f"[PAD{index}]") for index in range(n_tokens)]
    return tokens, [kind(index) if index in texts else UNUSED for index in range(n_tokens)]


def _kind(text: str, added: Mapping[str, Any] | None, model: Mapping[str, Any]) -> int:
    if model.get("byte_fallback") and text == model.get("unk_token"):
        return UNKNOWN
    if model.get("byte_fallback") and _BYTE.fullmatch(text):
        return BYTE
    if added is None:
        return NORMAL
    return CONTROL if added.get("special") else USER_DEFINED


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
        hint="Byte-level BPE is converted, of GPT-2, SmolLM, Llama 3 and Qwen 2 and 3, and SentencePiece's BPE (Llama "
        "2, Mistral), from tokenizer.json or tokenizer.model. Take a GGUF of the model, or serve the folder with MLX.",
        param="from",
    )
