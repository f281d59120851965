"""Vectors from a model that generates."""

import asyncio

import numpy as np
import pytest

from aiadmin_core.errors import InputTooLong

pytestmark = pytest.mark.real_model
TEXTS = ["A cat sits on the mat.", "A kitten is on a rug.", "The stock market fell by two percent on Monday."]


def rows(vectors):
    return np.frombuffer(vectors.data, "<f4").reshape(-1, vectors.n_dims)


async def test_a_text_has_the_same_vector_in_any_company(tiny):
    texts = [text * (n % 4 + 1) for n, text in enumerate(TEXTS * 4)]
    together = await asyncio.gather(tiny.engine.embed(texts), tiny.engine.embed(texts[::-1]))
    alone = np.concatenate([rows(await tiny.engine.embed([text])) for text in texts[:5]])
    assert np.linalg.norm(rows(together[0]), axis=1) == pytest.approx(1, abs=1e-6)
    assert (rows(together[0])[:5] * alone).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (rows(together[0]) * rows(together[1])[::-1]).sum(axis=1) == pytest.approx(1, abs=1e-4)


async def test_generating_beside_it_gives_what_it_gives_alone(tiny):
    def tell():
        return tiny.run("Once upon a time", temperature=0.0).tokens

    alone = await asyncio.to_thread(tell)
    embedding = asyncio.create_task(tiny.engine.embed(TEXTS * 8))
    assert await asyncio.to_thread(tell) == alone
    await embedding


async def test_texts_that_mean_the_same_are_near(real):
    found = rows(await real.engine.embed(TEXTS))
    assert found[0] @ found[1] > found[0] @ found[2]


async def test_too_long_a_text_is_refused_or_cut(tiny):
    with pytest.raises(InputTooLong, match="reads at most 1024"):
        await tiny.engine.embed([tuple(range(1000, 2100))])
    assert (await tiny.engine.embed([tuple(range(1000, 2100))], truncate=True)).n_tokens == (1024,)
