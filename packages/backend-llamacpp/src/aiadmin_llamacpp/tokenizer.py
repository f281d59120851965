"""Text to token ids and back, by llama.cpp's own vocabulary. Thread-safe: the vocabulary does not change, and every
call brings its own buffer."""

import ctypes
import warnings
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from llama_cpp import llama_cpp as lib

from .native.model import Model

_SPACER = "\n"  # merges with nothing behind it in the vocabularies that put a space in front


class LlamaTokenizer:
    """`aiadmin_core.backend.Tokenizer` of a GGUF's vocabulary. Lives as long as its model."""

    def __init__(self, model: Model) -> None:
        self._vocab = model.vocab
        self.n_vocab = model.n_vocab
        self.bos = _token(lib.llama_vocab_bos(self._vocab))
        self.eos = _token(lib.llama_vocab_eos(self._vocab))
        self.add_bos = self.bos is not None and bool(lib.llama_vocab_get_add_bos(self._vocab))
        self.chat_template = model.chat_template
        gap = (lib.llama_vocab_fim_pre, lib.llama_vocab_fim_suf, lib.llama_vocab_fim_mid)
        before, after, filled = (int(find(self._vocab)) for find in gap)
        self.infill = (before, after, filled) if min(before, after, filled) >= 0 else None
        ids = range(self.n_vocab)
        self.end_tokens = frozenset(token for token in ids if lib.llama_vocab_is_eog(self._vocab, token))
        control = {}
        for token in ids:
            if lib.llama_vocab_is_control(self._vocab, token):
                text = lib.llama_vocab_get_text(self._vocab, token)
                control[text.decode("utf-8", "replace")] = token
        self.control_tokens: Mapping[str, int] = MappingProxyType(control)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`, nothing added in front; `special`: control tokens are recognised.

        SentencePiece vocabularies put a space before every text they are given. A text is only a piece of a prompt
        here, so it is encoded behind a spacer, whose tokens are then dropped together with that space.
        """
        if not text:
            return []
        lead = self._lead
        if not lead:
            return self._encode(text, special)
        tokens = self._encode(_SPACER + text, special)
        return tokens[len(lead) :] if tokens[: len(lead)] == lead else self._encode(text, special)

    def encode_whole(self, text: str) -> list[int]:
        """Token ids of a text that stands for itself, with what the vocabulary puts around one ([CLS], [SEP]). Control
        tokens in it are text."""
        return self._encode(text, False, around=True)

    @cached_property
    def closing(self) -> frozenset[int]:
        """Control tokens that the vocabulary puts at the end of a text."""
        return frozenset(self.encode_whole("a")[-1:]) & frozenset(self.control_tokens.values())

    @cached_property
    def around_pairs(self) -> tuple[list[int], list[int], list[int]]:
        """What stands before, between and behind two texts that are read together, as the vocabulary has it: [CLS],
        [SEP] and [SEP] for BERT; <s>, </s></s> and </s> for RoBERTa and its kin."""
        whole = self.encode_whole("a")
        control = frozenset(self.control_tokens.values())
        opening = whole[:1] if whole[0] in control else []
        closing = whole[-1:] if whole[-1] in control else []
        separator = _token(lib.llama_vocab_sep(self._vocab))
        is_word_piece = lib.llama_vocab_type(self._vocab) == lib.LLAMA_VOCAB_TYPE_WPM  # closes with its separator
        extra = [separator] if lib.llama_vocab_get_add_sep(self._vocab) and separator and not is_word_piece else []
        return opening, closing + extra, closing

    @cached_property
    def _lead(self) -> list[int]:
        """What the spacer costs in front of a text; nothing in vocabularies that add no space."""
        first = self._encode("a", False)[:1]
        adds_space = bool(first) and self.piece(first[0]).startswith(b" ")
        return self._encode(_SPACER, False) if adds_space else []

    def _encode(self, text: str, special: bool, *, around: bool = False) -> list[int]:
        raw = text.encode("utf-8", "replace")  # a lone surrogate becomes "?"
        size = len(raw) + 8  # no vocabulary has more tokens than bytes, but for what it puts around them
        while True:
            buffer = (lib.llama_token * size)()
            n_tokens = lib.llama_tokenize(self._vocab, raw, len(raw), buffer, size, around, special)
            if n_tokens >= 0:
                return list(buffer[:n_tokens])
            size = -n_tokens

    def piece(self, token: int) -> bytes:
        """The bytes `token` stands for; b"" for control tokens. Not always whole characters.

        Raises `ValueError` for an id outside the vocabulary (llama.cpp would abort).
        """
        if not 0 <= token < self.n_vocab:
            raise ValueError(f"token id {token} is outside the vocabulary of {self.n_vocab}")
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def constraint_vocabulary(self) -> Any:
        """An `llguidance.LLTokenizer` of this vocabulary (a quarter of a second for 49k tokens)."""
        from llguidance.llamacpp import lltokenizer_from_vocab

        # It asks for each token in a way that llama-cpp-python wants to be rid of, and is warned each time.
        warnings.filterwarnings("ignore", "llama_token_get_attr is deprecated", DeprecationWarning)
        return lltokenizer_from_vocab(self._vocab)


def _token(token: int) -> int | None:
    """llama.cpp writes "there is none" as -1."""
    return token if token >= 0 else None
