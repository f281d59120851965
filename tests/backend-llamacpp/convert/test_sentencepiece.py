"""SentencePiece's tokenizers arrive as they were: the same ids for the same texts, by llama.cpp and by tokenizers."""

import io
import json
import shutil
from pathlib import Path

import gguf
import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_llamacpp.backend import LlamaBackend

sentencepiece = pytest.importorskip("sentencepiece")
tokenizers = pytest.importorskip("tokenizers")

pytestmark = pytest.mark.real_model
DOCS = Path(__file__).parents[3] / "docs"
KEEP_SPACES = {"remove_extra_whitespaces": False}
TEXTS = [
    "The keeper of the lighthouse writes down every ship.",
    " two  spaces,\n\na line, and a tab\t.",
    "Z\u00fcrich \U0001f642 \u5341\u4e8c times",
    "aiadmin pull smollm2 && aiadmin run smollm2 'Hi'",
    "x",
]


@pytest.fixture(scope="module")
def trained():
    """SentencePiece's own BPE of this repository's docs, with bytes for what it has no piece for."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter("\n".join(path.read_text() for path in sorted(DOCS.glob("how-to/*.md"))).splitlines()),
        model_writer=made,
        model_type="bpe",
        vocab_size=900,
        byte_fallback=True,
        character_coverage=0.999,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


@pytest.fixture(scope="module")
def folder(trained, tiny_mlx, tmp_path_factory):
    """The tiny model with that tokenizer, written as tokenizers has it: merges in the order of the scores."""
    pieces = {trained.id_to_piece(index): index for index in range(trained.vocab_size())}
    scores = {piece: trained.get_score(index) for piece, index in pieces.items()}
    splits = [(piece[:cut], piece[cut:]) for piece in pieces for cut in range(1, len(piece))]
    merges = [pair for pair in splits if pair[0] in pieces and pair[1] in pieces]
    merges.sort(key=lambda pair: -scores[pair[0] + pair[1]])
    folder = tmp_path_factory.mktemp("spm") / "folder"
    shutil.copytree(tiny_mlx, folder)
    data = {
        "version": "1.0",
        "added_tokens": [
            {"id": index, "content": piece, "special": True, "normalized": False}
            | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
            for piece, index in pieces.items()
            if piece in ("<unk>", "<s>", "</s>")
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": pieces,
            "merges": [list(pair) for pair in merges],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(data))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def pieces_alone(folder, trained, tmp_path_factory):
    """As older folders have it: SentencePiece's own file, and nothing of tokenizers."""
    other = tmp_path_factory.mktemp("pieces") / "folder"
    shutil.copytree(folder, other)
    (other / "tokenizer.json").unlink()
    (other / "tokenizer.model").write_bytes(trained.serialized_model_proto())
    (other / "added_tokens.json").write_text(json.dumps({"<|im_end|>": trained.vocab_size()}))
    return other


@pytest.fixture(scope="module", params=["tokenizer.json", "tokenizer.model"])
def made(request, folder, pieces_alone, tmp_path_factory):
    target = tmp_path_factory.mktemp("spm") / "made.gguf"
    source = folder if request.param == "tokenizer.json" else pieces_alone
    LlamaBackend().convert(source, target, lambda *_: None)
    return target


@pytest.fixture(scope="module")
def encode(made):
    from aiadmin_llamacpp.native.model import Model
    from aiadmin_llamacpp.tokenizer import LlamaTokenizer

    model = Model([str(made)], n_gpu_layers=0, use_extra_bufts=False)
    yield LlamaTokenizer(model).encode_whole
    model.close()


@pytest.mark.parametrize("text", TEXTS)
def test_texts_become_the_same_tokens(folder, trained, encode, text):
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids

    assert encode(text) == [trained.bos_id(), *theirs] == [trained.bos_id(), *trained.encode(text)]


def test_the_file_says_what_kind_of_tokens_they_are(made, trained):
    fields = gguf.GGUFReader(made).fields

    assert fields["tokenizer.ggml.model"].contents() == "llama"
    types = fields["tokenizer.ggml.token_type"].contents()
    assert types[: trained.vocab_size()].count(6) == 256
    assert (types[0], types[1], types[2]) == (2, 3, 3)
    assert fields["tokenizer.ggml.add_bos_token"].contents() is True


def test_an_added_token_is_one_that_is_never_shown(pieces_alone, trained, tmp_path):
    LlamaBackend().convert(pieces_alone, tmp_path / "made.gguf", lambda *_: None)
    fields = gguf.GGUFReader(tmp_path / "made.gguf").fields

    assert fields["tokenizer.ggml.tokens"].contents()[trained.vocab_size()] == "<|im_end|>"
    assert fields["tokenizer.ggml.token_type"].contents()[trained.vocab_size()] == 3


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"model_type": "unigram", "normalization_rule_name": "identity", "remove_extra_whitespaces": False}, "BPE"),
        ({"model_type": "bpe", "normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": False}, "rewrites"),
        ({"model_type": "bpe", "normalization_rule_name": "identity", "remove_extra_whitespaces": True}, "spaces"),
        ({"model_type": "bpe", "normalization_rule_name": "identity", "byte_fallback": False} | KEEP_SPACES, "bytes"),
    ],
)
def test_what_llama_cpp_would_cut_otherwise_is_refused(pieces_alone, tmp_path, how, why):
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three", "four five six"] * 20),
        model_writer=made,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"byte_fallback": True, "vocab_size": 290 if how.get("byte_fallback", True) else 24} | how,
    )
    folder = tmp_path / "folder"
    shutil.copytree(pieces_alone, folder)
    (folder / "tokenizer.model").write_bytes(made.getvalue())

    with pytest.raises(BadRequest, match=f"SentencePiece model .*{why}"):
        LlamaBackend().convert(folder, tmp_path / "made.gguf", lambda *_: None)


@pytest.mark.parametrize("data", [b"", b"no such thing", b"\xff" * 100])
def test_a_broken_file_is_named(pieces_alone, tmp_path, data):
    folder = tmp_path / "folder"
    shutil.copytree(pieces_alone, folder)
    (folder / "tokenizer.model").write_bytes(data)

    with pytest.raises(BadRequest, match=r"tokenizer\.model"):
        LlamaBackend().convert(folder, tmp_path / "made.gguf", lambda *_: None)
