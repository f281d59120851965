"""Exact bytes, control tokens, end tokens and templates, whatever files a model brings."""

import json

import numpy as np
import pytest

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_mlx.tokenizer import MlxTokenizer, infill_tokens, without_dummy_prefix

TEXTS = ["Hello, world", " leading", "trailing \n\n", "Zürich 北京 🙂🏽", "a\x00b\t\r\n", "1234567", "", "<|im_end|>"]


@pytest.fixture(scope="module")
def tokenizer(tiny_mlx):
    return MlxTokenizer(tiny_mlx, n_logits=49152)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_joined_give_back_the_text(tokenizer, text):
    assert b"".join(map(tokenizer.piece, tokenizer.encode(text, special=False))) == text.encode()


def test_a_token_may_hold_a_part_of_a_character(tokenizer):
    pieces = [tokenizer.piece(token) for token in tokenizer.encode("🙂", special=False)]

    assert len(pieces) > 1
    assert b"".join(pieces) == "🙂".encode()


def test_control_tokens_are_recognised_only_where_a_template_may_write_them(tokenizer):
    end = tokenizer.control_tokens["<|im_end|>"]

    assert tokenizer.encode("a<|im_end|>", special=True)[-1] == end
    assert end not in tokenizer.encode("a<|im_end|>", special=False)
    assert tokenizer.piece(end) == b""


def test_the_special_tokens_of_the_files_are_the_control_tokens(tokenizer):
    assert len(tokenizer.control_tokens) == 17
    assert (tokenizer.control_tokens["<|im_start|>"], tokenizer.bos, tokenizer.eos, tokenizer.add_bos) == (
        1,
        1,
        2,
        False,
    )
    assert tokenizer.end_tokens == {0, 2}  # <|im_end|> by name and by config, <|endoftext|> by name
    assert "<|im_start|>" in tokenizer.chat_template


def test_a_lone_surrogate_becomes_a_question_mark(tokenizer):
    assert tokenizer.encode("\ud83d", special=False) == tokenizer.encode("?", special=False)


def test_ids_outside_the_vocabulary_are_errors(tokenizer):
    for token in (-1, tokenizer.n_vocab):
        with pytest.raises(ValueError, match="outside the vocabulary"):
            tokenizer.piece(token)


def test_an_output_wider_than_the_vocabulary_pads_it(tiny_mlx):
    padded = MlxTokenizer(tiny_mlx, n_logits=49200)

    assert padded.n_vocab == 49200
    assert padded.piece(49199) == b""
    assert padded.constraint_vocabulary().vocab_size == 49200


def test_the_constraint_vocabulary_ends_where_the_model_does(tokenizer):
    import llguidance

    vocabulary = tokenizer.constraint_vocabulary()
    matcher = llguidance.LLMatcher(vocabulary, llguidance.LLMatcher.grammar_from_regex("ab?"))
    allowed = bits(matcher.compute_bitmask())

    assert {tokenizer.piece(token) for token in allowed} == {b"a", b"ab"}
    assert matcher.consume_token(tokenizer.encode("ab", special=False)[0])
    assert bits(matcher.compute_bitmask()) <= tokenizer.end_tokens


def bits(mask):
    words = np.frombuffer(mask, np.uint32)
    return {32 * index + bit for index, word in enumerate(words) if word for bit in range(32) if word >> bit & 1}


def sentencepiece_folder(folder, **parts):
    """A SentencePiece-like model: "▁" for spaces, tokens for bytes, a space put in front of every text."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for text in ("▁", "a", "b", "▁a", "ü"):
        vocabulary[text] = len(vocabulary)
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": text, **added} for i, text in enumerate(("<unk>", "<s>", "</s>"))],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": [["▁", "a"]],
            "byte_fallback": True,
            "unk_token": "<unk>",
            "fuse_unk": True,
        },
        **parts,
    }
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<s>"}, "eos_token": "</s>"}))
    return folder


@pytest.mark.parametrize("text", ["a b", " a", "  ", "ü🙂\n", "a<s>"])
def test_sentencepiece_texts_are_exact_and_nothing_is_put_in_front(tmp_path, text):
    tokenizer = MlxTokenizer(sentencepiece_folder(tmp_path))

    assert b"".join(map(tokenizer.piece, tokenizer.encode(text, special=False))) == text.encode()


def test_a_model_whose_tokenizer_adds_bos_says_so(tmp_path):
    tokenizer = MlxTokenizer(sentencepiece_folder(tmp_path))

    assert (tokenizer.bos, tokenizer.add_bos, tokenizer.eos) == (1, True, 2)
    assert 1 not in tokenizer.encode("a", special=True)  # core puts it where it belongs


def test_end_tokens_are_gathered_from_every_file(tmp_path):
    sentencepiece_folder(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 5]}')
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')

    assert MlxTokenizer(tmp_path).end_tokens == {2, 5, 7}


def test_metaspace_pretokenizers_put_nothing_in_front_either(tmp_path):
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}
    folder = sentencepiece_folder(tmp_path, normalizer=None, pre_tokenizer=metaspace)

    tokenizer = MlxTokenizer(folder)

    assert b"".join(map(tokenizer.piece, tokenizer.encode("a b", special=False))) == b"a b"


def test_a_description_is_changed_in_a_copy():
    description = {"normalizer": {"type": "Prepend", "prepend": "▁"}, "pre_tokenizer": None}

    assert without_dummy_prefix(description)["normalizer"] is None
    assert description["normalizer"] is not None


def test_a_folder_without_any_tokenizer_is_a_load_failure(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')

    with pytest.raises(ModelLoadFailed, match=r"no tokenizer\.json"):
        MlxTokenizer(tmp_path)


@pytest.mark.parametrize(
    ("texts", "infill"),
    [
        (("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"), (0, 1, 2)),
        (("<fim_middle>", "<fim_prefix>", "<fim_suffix>"), (1, 2, 0)),
        (("<PRE>", "<SUF>", "x"), None),
    ],
)
def test_the_tokens_around_a_gap_are_known_by_their_names(texts, infill):
    assert infill_tokens({text: token for token, text in enumerate(texts)}) == infill
