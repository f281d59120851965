"""Models that rank documents: their numbers against a computation of their own weights with numpy."""

import asyncio
import math
import struct
import sys

import pytest

from aiadmin_core.errors import InputTooLong, ModelLoadFailed
from aiadmin_core.runner.opening import opened
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_llamacpp.backend import LlamaBackend

pytestmark = pytest.mark.real_model
DOCUMENTS = ["a cat", "the dog sat", "b", "on and on and on"]


def rankers():
    return sys.modules["_rankers"]


def open_ranker(path, **options):
    files = (ModelFile(role="model", path=str(path)),)
    spec = ModelSpec(name="ranker:latest", digest="", format="gguf", files=files)
    return opened(LlamaBackend(), spec, EngineOptions(safe_mode=True, **options))


@pytest.fixture(scope="module")
def engine(tiny_ranker):
    engine = open_ranker(tiny_ranker)
    yield engine
    asyncio.run(engine.close())


def numbers(scores):
    return struct.unpack(f"<{len(scores.n_tokens)}f", scores.data)


def ids(text):
    letters = [("" if n else "\u2581") + letter for word in text.split() for n, letter in enumerate(word)]
    return [rankers().WORDS.index(letter) for letter in letters]


def relevance(tokens):
    return 1 / (1 + math.exp(-rankers().logit(tokens, rankers().bert_weights())))


async def test_a_score_is_what_the_weights_say(engine):
    cls, sep = 2, 3
    pairs = [[cls, *ids("cat sat"), sep, *ids(document), sep] for document in DOCUMENTS]

    scores = await engine.score("cat sat", DOCUMENTS)

    assert numbers(scores) == pytest.approx([relevance(pair) for pair in pairs], abs=2e-3)
    assert scores.n_tokens == tuple(map(len, pairs))
    assert len({round(number, 3) for number in numbers(scores)}) == len(DOCUMENTS)


async def test_company_changes_no_score(engine):
    together = await asyncio.gather(*(engine.score(query, DOCUMENTS * 30) for query in ("cat", "dog")))
    alone = [numbers(await engine.score("dog", [document]))[0] for document in DOCUMENTS]
    assert numbers(together[1]) == pytest.approx(alone * 30, abs=1e-3)
    assert numbers(await engine.score("dog", [])) == ()


async def test_control_tokens_in_a_text_are_text(engine):
    """Or a document could end itself, and begin another."""
    plain, typed = await asyncio.gather(engine.score("cat", ["a b"]), engine.score("cat", ["a [SEP] b"]))
    assert typed.n_tokens[0] > plain.n_tokens[0] + 1


async def test_what_is_too_long_is_refused_by_name_or_cut(engine):
    long = "a" * 70
    with pytest.raises(InputTooLong, match=r"'documents\[1\]' has \d+ tokens; this model reads at most 64"):
        await engine.score("cat", ["b", long])
    with pytest.raises(InputTooLong, match="'query' has"):
        await engine.score(long, ["b"], truncate=True)
    cut = await engine.score("cat", ["b", long], truncate=True)
    assert cut.n_tokens[1] == 64
    assert numbers(cut)[1] == pytest.approx(relevance([2, *ids("cat"), 3, *ids(long)[:58], 3]), abs=2e-3)


async def test_it_does_nothing_else(engine):
    assert engine.capabilities.protocols == {"score", "tokenize"}
    with pytest.raises(Exception, match="generates no text, it ranks documents"):
        await anext(engine.generate(GenerateRequest(id=1, input=TextInput(text="a"))))


async def test_vocabularies_say_what_stands_between_the_texts(tiny_ranker, smollm2_gguf, tmp_path):
    """Two </s> in RoBERTa's, where BERT has one [SEP]."""
    path = tmp_path / "roberta.gguf"
    rankers().write_roberta(path, smollm2_gguf)
    engine = open_ranker(path)
    try:
        bos, eos = [await engine.tokenize(text, special=True) for text in ("<|im_start|>", "<|im_end|>")]
        query, document = [await engine.tokenize(text) for text in ("A cat", "sat, 十二")]
        tokens, weights = [*bos, *query, *eos, *eos, *document, *eos], rankers().bert_weights(49152)
        scores = await engine.score("A cat", ["sat, 十二"])
        assert scores.n_tokens == (len(tokens),)
        assert numbers(scores)[0] == pytest.approx(1 / (1 + math.exp(-rankers().logit(tokens, weights))), abs=2e-3)
    finally:
        await engine.close()


async def test_a_generating_model_with_a_template_ranks_by_its_yes(tiny_ranker, smollm2_gguf, tmp_path):
    path = tmp_path / "qwen3.gguf"
    template = "<|im_start|>user\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    rankers().write_qwen3(path, smollm2_gguf, template)
    engine = open_ranker(path)
    try:
        scores = await engine.score("A cat", ["sat", "ran away", "sat <|im_end|>"])
        assert all(0 < number < 1 for number in numbers(scores))
        assert len({round(number, 4) for number in numbers(scores)}) == 3
        written = template.replace("{query}", "A cat").replace("{document}", "ran away")
        assert scores.n_tokens[1] == len(await engine.tokenize(written, special=True))
        assert scores.n_tokens[2] > scores.n_tokens[0] + 2
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"without": ("cls.output.weight", "cls.output.bias", "cls.weight", "cls.bias")}, "lacks the weights"),
        ({"n_classes": 3}, "sorts texts into 3 classes"),
    ],
)
def test_what_cannot_rank_is_refused_when_it_is_loaded(tiny_ranker, tmp_path, fields, said):
    path = tmp_path / "broken.gguf"
    rankers().write_bert(path, **fields)
    with pytest.raises(ModelLoadFailed, match=said):
        open_ranker(path)
