"""BERT encoders: made GGUFs, and compared with what their own weights say, computed here with numpy."""

import asyncio
import json
import shutil
from contextlib import suppress
from operator import attrgetter

import numpy as np
import pytest

from aiadmin_core.errors import BadRequest, InputTooLong, ModelLoadFailed
from aiadmin_core.runner.opening import opened
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_core.testing.asking import NotClaimed
from aiadmin_core.testing.conformance import BEHAVIOURS, check
from aiadmin_llamacpp import bert
from aiadmin_llamacpp.backend import LlamaBackend

pytestmark = pytest.mark.real_model

TEXTS = [
    "A cat sits on the mat.",
    "Ein Kätzchen liegt auf dem Teppich!",
    "The stock market fell by 2.5% on Monday; analysts weren't surprised.",
    "x",
    "def add(a, b):\n    return a + b  # unbelievably straightforward",
    "Überraschung: 東京 and naïve façades, e-mail@example.com",
    "long " * 200,
]


def spec_of(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return ModelSpec(
        name="minilm:latest",
        digest="",
        format="safetensors",
        files=tuple(
            ModelFile(
                role="model" if path.suffix == ".safetensors" else "config",
                path=str(path),
                name=path.relative_to(folder).as_posix(),
                size=path.stat().st_size,
            )
            for path in files
        ),
    )


@pytest.fixture(scope="module")
def engine(minilm_folder):
    engine = opened(LlamaBackend(), spec_of(minilm_folder), EngineOptions(safe_mode=True))
    yield engine
    asyncio.run(engine.close())


def rows(vectors):
    return np.frombuffer(vectors.data, "<f4").reshape(-1, vectors.n_dims)


async def test_vectors_are_those_of_the_original_weights(engine, bert_reference):
    tokens = [bert_reference.tokens(text) for text in TEXTS]

    vectors = await engine.embed(TEXTS)

    assert vectors.n_tokens == tuple(map(len, tokens))
    cosines = (rows(vectors) * np.stack([bert_reference.vector(one) for one in tokens])).sum(axis=1)
    assert cosines.min() > 0.999, cosines
    same = rows(await engine.embed([tuple(one) for one in tokens]))
    assert (same * rows(vectors)).sum(axis=1) == pytest.approx(1, abs=1e-4)


async def test_an_encoder_embeds_and_does_nothing_else(engine):
    assert not engine.capabilities.generates
    assert engine.capabilities.protocols == {"embed", "tokenize"}
    assert (engine.facts.architecture, engine.facts.n_embd, engine.facts.n_ctx) == ("bert", 384, 512)
    with pytest.raises(BadRequest, match="generates no text, it makes embeddings"):
        [event async for event in engine.generate(GenerateRequest(id=1, input=TextInput(text="a")))]


async def test_what_does_not_fit_one_batch_is_refused_or_cut_between_its_marks(engine):
    """An encoder batch that is larger aborts the process."""
    with pytest.raises(InputTooLong, match="702 tokens; this model reads at most 512"):
        await engine.embed(["word " * 700])
    assert (await engine.embed(["word " * 700], truncate=True)).n_tokens == (512,)
    vectors = await engine.embed(["word " * 400] * 5)
    assert rows(vectors) @ rows(vectors)[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))
async def test_an_encoder_has_the_behaviours_it_claims(behaviour, engine):
    with suppress(NotClaimed):
        await check(behaviour, engine)


def test_the_folder_tells_what_it_is(minilm_folder):
    info = LlamaBackend().inspect(minilm_folder)

    assert (info.format, info.architecture, info.n_embd, info.n_ctx_train) == ("safetensors", "bert", 384, 512)
    assert info.n_params == pytest.approx(22.7e6, rel=0.01)
    assert LlamaBackend().suitability(spec_of(minilm_folder)) == 50


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"hidden_act": "relu"}, "hidden_act"),
        ("config.json", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("config.json", {"hidden_size": "many"}, "hidden_size"),
        ("tokenizer_config.json", {"do_lower_case": False}, "do_lower_case"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "pools"),
    ],
)
def test_variants_that_would_be_computed_otherwise_are_refused(minilm_folder, tmp_path, file, change, message):
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(minilm_folder / "model.safetensors")
    changed = json.loads((folder / file).read_text()) | change
    (folder / file).write_text(json.dumps(changed))

    with pytest.raises(ModelLoadFailed, match=message):
        LlamaBackend().open_engine(spec_of(folder), EngineOptions())


def test_weights_that_are_cut_off_are_refused(minilm_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1_000_000)

    with pytest.raises(ModelLoadFailed, match="broken"):
        LlamaBackend().open_engine(spec_of(folder), EngineOptions())


@pytest.mark.parametrize(
    ("name", "gguf_name"),
    [
        ("embeddings.word_embeddings.weight", "token_embd.weight"),
        ("bert.encoder.layer.11.output.dense.bias", "blk.11.ffn_down.bias"),
        ("pooler.dense.weight", None),
        ("embeddings.position_ids", None),
    ],
)
def test_tensors_have_llama_cpps_names(name, gguf_name):
    assert bert.gguf_name(name) == gguf_name
