"""BERT encoders on MLX, compared with what their own weights say, computed with numpy."""

import asyncio
import json
import shutil
from contextlib import suppress
from operator import attrgetter

import numpy as np
import pytest

pytest.importorskip("mlx.core")

from aiadmin_core.errors import BadRequest, InputTooLong, ModelLoadFailed
from aiadmin_core.runner.opening import opened
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_core.testing.asking import NotClaimed
from aiadmin_core.testing.conformance import BEHAVIOURS, check
from aiadmin_mlx.backend import MlxBackend
from aiadmin_mlx.padding import of_like_lengths

pytestmark = pytest.mark.real_model

TEXTS = [
    "A cat sits on the mat.",
    "Ein Kätzchen liegt auf dem Teppich!",
    "The stock market fell by 2.5% on Monday; analysts weren't surprised.",
    "x",
    "Überraschung: 東京 and naïve façades, e-mail@example.com [SEP]",
    "long " * 200,
]


def spec_of(folder):
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
            for path in folder.rglob("*")
            if path.is_file()
        ),
    )


@pytest.fixture(scope="module")
def engine(minilm_folder):
    engine = opened(MlxBackend(), spec_of(minilm_folder), EngineOptions())
    yield engine
    asyncio.run(engine.close())


def rows(vectors):
    return np.frombuffer(vectors.data, "<f4").reshape(-1, vectors.n_dims)


async def test_vectors_are_those_of_the_original_weights(engine, bert_reference):
    tokens = [bert_reference.tokens(text.replace("[SEP]", "")) for text in TEXTS]

    vectors = await engine.embed([text.replace("[SEP]", "") for text in TEXTS])

    assert vectors.n_tokens == tuple(map(len, tokens))
    cosines = (rows(vectors) * np.stack([bert_reference.vector(one) for one in tokens])).sum(axis=1)
    assert cosines.min() > 0.999, cosines
    same = rows(await engine.embed([tuple(one) for one in tokens]))
    assert (same * rows(vectors)).sum(axis=1) == pytest.approx(1, abs=1e-4)


async def test_a_text_has_the_same_vector_in_any_company(engine):
    """Shorter ones are padded, and read nothing of it."""
    texts = [f"{text} {'and more ' * (n % 5)}" for n, text in enumerate(TEXTS * 4)]
    together = await asyncio.gather(engine.embed(texts), engine.embed(texts[::-1]))
    alone = np.concatenate([rows(await engine.embed([text])) for text in texts[:6]])
    assert (rows(together[0])[:6] * alone).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (rows(together[0]) * rows(together[1])[::-1]).sum(axis=1) == pytest.approx(1, abs=1e-4)


async def test_an_encoder_embeds_and_does_nothing_else(engine):
    assert not engine.capabilities.generates
    assert engine.capabilities.protocols == {"embed", "tokenize"}
    assert (engine.facts.architecture, engine.facts.n_embd, engine.facts.n_ctx) == ("bert", 384, 512)
    with pytest.raises(BadRequest, match="generates no text, it makes embeddings"):
        [event async for event in engine.generate(GenerateRequest(id=1, input=TextInput(text="a")))]


async def test_too_long_a_text_is_refused_or_cut_between_its_marks(engine):
    with pytest.raises(InputTooLong, match="702 tokens; this model reads at most 512"):
        await engine.embed(["word " * 700])
    assert (await engine.embed(["word " * 700], truncate=True)).n_tokens == (512,)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))
async def test_an_encoder_has_the_behaviours_it_claims(behaviour, engine):
    with suppress(NotClaimed):
        await check(behaviour, engine)


def changed(folder, target, name, **fields):
    shutil.copytree(folder, target)
    path = target / name
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")
    return spec_of(target)


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("config.json", {"hidden_act": "swish"}, "hidden_act 'swish'"),
        ("config.json", {"position_embedding_type": "relative_key"}, "only 'absolute'"),
        ("config.json", {"num_hidden_layers": 7}, "hold no encoder.layer.6"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "pools by cls_token, mean_tokens"),
    ],
)
def test_a_variant_that_is_computed_otherwise_is_refused(minilm_folder, tmp_path, name, fields, told):
    with pytest.raises(ModelLoadFailed, match=told):
        MlxBackend().open_engine(changed(minilm_folder, tmp_path / "model", name, **fields), EngineOptions())


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [([5, 3, 12], [[1, 0], [2]]), ([1, 2, 3, 4], [[0, 1], [2, 3]]), ([7], [[0]]), ([], [])],
)
def test_inputs_of_like_lengths_are_read_together(lengths, groups):
    assert of_like_lengths(lengths) == groups
