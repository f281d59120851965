"""Text to token ids and back, by the model's tokenizer.json. Thread-safe: nothing changes after it is made.

Byte-level BPE (GPT-2, Llama 3, Qwen, ...) and SentencePiece vocabularies ("▁" for a space, "<0x0A>" for a byte) are
read into exact bytes per token, so that pieces joined give back the text whatever lies between them.
"""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer

from aiadmin_core.errors import ModelLoadFailed

from .safetensors import read_chat_template, read_json

_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>")
"""Control tokens that end an answer also where a model's config forgets them."""

INFILL = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
    ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),
    ("<PRE>", "<SUF>", "<MID>"),
)
"""Names of the tokens around a gap: Qwen's, StarCoder's, SantaCoder's, DeepSeek's, CodeLlama's."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class MlxTokenizer:
    """`aiadmin_core.backend.Tokenizer` of a model folder."""

    def __init__(self, folder: Path, *, n_logits: int = 0) -> None:
        """Read `folder`. `n_logits` is the width of the model's output, which may be padded past the vocabulary.

        Raises `ModelLoadFailed` where there is no tokenizer that can be read.
        """
        description = _read_description(folder)
        settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
        self._special = Tokenizer.from_str(json.dumps(without_dummy_prefix(description)))
        self._plain = Tokenizer.from_str(self._special.to_str())
        self._plain.encode_special_tokens = True  # control tokens in the text stay text
        added = self._special.get_added_tokens_decoder()
        control = {entry.content: token for token, entry in added.items() if entry.special}
        self.control_tokens: Mapping[str, int] = MappingProxyType(control)
        vocabulary: dict[str, int] = self._special.get_vocab(with_added_tokens=True)
        self.n_vocab = max(n_logits, max(vocabulary.values(), default=-1) + 1)
        kinds = _decoder_kinds(description)
        self._pieces = _pieces(vocabulary, kinds=kinds, n_vocab=self.n_vocab)
        for token, entry in added.items():
            self._pieces[token] = b"" if entry.special else entry.content.encode()
        bos = _content(settings.get("bos_token"))
        self.bos: int | None = vocabulary.get(bos) if bos else None
        first = Tokenizer.from_str(json.dumps(description)).encode("a").ids[:1]
        self.add_bos = self.bos is not None and bool(settings.get("add_bos_token", first == [self.bos]))
        named = _named_ends(folder, settings, vocabulary)
        self.eos: int | None = named[0] if named else None
        self.end_tokens = frozenset(named) | {token for text, token in control.items() if text in _TURN_ENDS}
        self.chat_template = read_chat_template(folder)
        self.infill = infill_tokens(vocabulary)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`, nothing added in front; `special`: control tokens are recognised."""
        tokenizer = self._special if special else self._plain
        whole = text.encode("utf-8", "replace").decode()  # a lone surrogate becomes "?"
        return list(tokenizer.encode(whole, add_special_tokens=False).ids)

    def encode_whole(self, text: str) -> list[int]:
        """Token ids of a text that stands for itself, with what the tokenizer puts around one. Control tokens in it are
        text."""
        whole = text.encode("utf-8", "replace").decode()
        return list(self._plain.encode(whole).ids)

    @cached_property
    def closing(self) -> frozenset[int]:
        """Control tokens that the tokenizer puts at the end of a text."""
        return frozenset(self.encode_whole("a")[-1:]) & frozenset(self.control_tokens.values())

    def piece(self, token: int) -> bytes:
        """The bytes `token` stands for; b"" for control tokens. Not always whole characters.

        Raises `ValueError` for an id outside the vocabulary.
        """
        if not 0 <= token < self.n_vocab:
            raise ValueError(f"token id {token} is outside the vocabulary of {self.n_vocab}")
        return self._pieces[token]

    def constraint_vocabulary(self) -> Any:
        """An `llguidance.LLTokenizer` of this vocabulary, as wide as the model's output (0.2 s for 49k tokens)."""
        from llguidance import LLTokenizer

        return LLTokenizer(self._special.to_str(), n_vocab=self.n_vocab, eos_token=sorted(self.end_tokens) or None)


def without_dummy_prefix(description: dict[str, Any]) -> dict[str, Any]:
    """`description` (a tokenizer.json) changed so that no space is put in front of a text: a text is only a piece of
    a prompt here."""
    changed: dict[str, Any] = json.loads(json.dumps(description))
    normalizer = changed.get("normalizer")
    if isinstance(normalizer, dict):
        if normalizer.get("type") == "Prepend":
            changed["normalizer"] = None
        elif normalizer.get("type") == "Sequence":
            normalizer["normalizers"] = [one for one in normalizer["normalizers"] if one.get("type") != "Prepend"]
    for step in _steps(changed.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace":
            step["prepend_scheme"] = "never"
            step.pop("add_prefix_space", None)
        elif step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False
    changed["truncation"] = changed["padding"] = None
    return changed


def _read_description(folder: Path) -> dict[str, Any]:
    """The folder's tokenizer.json, or one made by transformers from the files older models have."""
    if (folder / "tokenizer.json").is_file():
        return read_json(folder / "tokenizer.json")
    try:
        from transformers import AutoTokenizer

        slow_or_fast = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        description: dict[str, Any] = json.loads(slow_or_fast.backend_tokenizer.to_str())
    except Exception as error:  # transformers raises whatever its converters raise
        raise ModelLoadFailed(
            f"The model has no tokenizer.json, and none can be made of its files: {error}",
            hint="Fetch a conversion that has one (mlx-community's have).",
        ) from error
    return description


def _steps(part: Any, list_key: str) -> list[dict[str, Any]]:
    """The steps of a tokenizer.json component, which is one or a "Sequence" of them."""
    if not isinstance(part, dict):
        return []
    return list(part[list_key]) if part.get("type") == "Sequence" else [part]


def _decoder_kinds(description: Mapping[str, Any]) -> frozenset[str]:
    """What turns tokens into text, by tokenizers' names: "ByteLevel", "WordPiece", ..."""
    steps = _steps(description.get("decoder"), "decoders") or _steps(description.get("pre_tokenizer"), "pretokenizers")
    return frozenset(str(step.get("type")) for step in steps)


def _pieces(vocabulary: Mapping[str, int], *, kinds: frozenset[str], n_vocab: int) -> list[bytes]:
    """The bytes of every token id; ids no token has are b""."""
    pieces = [b""] * n_vocab
    byte_level, word_piece = "ByteLevel" in kinds, "WordPiece" in kinds
    alphabet = _byte_alphabet() if byte_level else {}
    for text, token in vocabulary.items():
        if byte_level:
            pieces[token] = b"".join(alphabet.get(character, character.encode()) for character in text)
        elif word_piece:  # "##" goes on with a word, anything else begins one
            pieces[token] = (text[2:] if text.startswith("##") else f" {text}").encode()
        elif match := _BYTE_TOKEN.fullmatch(text):
            pieces[token] = bytes.fromhex(match[1])
        else:
            pieces[token] = text.replace("▁", " ").encode()
    return pieces


def _byte_alphabet() -> dict[str, bytes]:
    """The character that stands for each byte in byte-level BPE: itself where it prints, else the next unused one
    from U+0100 on (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(0x100 + index): bytes([byte]) for index, byte in enumerate(rest)}
    return {chr(byte): bytes([byte]) for byte in printable} | shifted


def _named_ends(folder: Path, settings: Mapping[str, Any], vocabulary: Mapping[str, int]) -> list[int]:
    """EOS as the folder's files name it: the tokenizer's own first, which is the one that templates write."""
    ends = [vocabulary[text]] if (text := _content(settings.get("eos_token"))) in vocabulary else []
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            eos = read_json(folder / name).get("eos_token_id")
            ends.extend(token for token in (eos if isinstance(eos, list) else [eos]) if isinstance(token, int))
    return ends


def infill_tokens(vocabulary: Mapping[str, int]) -> tuple[int, int, int] | None:
    """Those around a gap, by their names; None without all three."""
    for texts in INFILL:
        before, after, gap = (vocabulary.get(text) for text in texts)
        if before is not None and after is not None and gap is not None:
            return before, after, gap
    return None


def _content(token: Any) -> str:
    """The text of a token as tokenizer_config.json writes it: a string, or an object with `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""
