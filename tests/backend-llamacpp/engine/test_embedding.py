"""Vectors of texts: what the real model makes of them, beside generating."""

import asyncio

import numpy as np
import pytest

from aiadmin_core.errors import BadRequest, InputTooLong

TEXTS = ["A cat sits on the mat.", "A kitten is on a rug.", "The stock market fell by two percent on Monday."]


def rows(vectors):
    return np.frombuffer(vectors.data, "<f4").reshape(-1, vectors.n_dims)


@pytest.mark.real_model
async def test_texts_that_mean_the_same_are_near_and_all_have_length_one(driver):
    vectors = await driver.engine.embed(TEXTS)
    found = rows(vectors)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)
    assert found[0] @ found[1] > found[0] @ found[2]
    assert vectors.n_tokens == tuple(len(driver.engine.tokenizer.encode(text, special=False)) for text in TEXTS)


@pytest.mark.real_model
async def test_a_vector_is_the_mean_over_the_texts_own_tokens_whatever_shares_its_batch(driver):
    """Many inputs at once, of several requests, against each alone."""
    texts = [f"{text} {'and more ' * (n % 7)}" for n, text in enumerate(TEXTS * 8)]
    together = await asyncio.gather(driver.engine.embed(texts), driver.engine.embed(texts[::-1]))
    alone = np.concatenate([rows(await driver.engine.embed([text])) for text in texts[:6]])
    assert (rows(together[0])[:6] * alone).sum(axis=1) == pytest.approx(1, abs=2e-3)
    assert (rows(together[0]) * rows(together[1])[::-1]).sum(axis=1) == pytest.approx(1, abs=2e-3)


@pytest.mark.real_model
async def test_tokens_are_read_as_they_are(driver):
    tokens = tuple(driver.engine.tokenizer.encode(TEXTS[0], special=False))
    text, same = rows(await driver.engine.embed([TEXTS[0], tokens]))
    assert text @ same == pytest.approx(1, abs=1e-3)


@pytest.mark.real_model
async def test_too_long_an_input_is_refused_by_name_and_both_numbers(driver):
    """Before anything is computed: over two micro-batches llama.cpp would pool the last one alone."""
    with pytest.raises(InputTooLong, match=r"'inputs\[1\]' has 2000 tokens; this model reads at most 1024"):
        await driver.engine.embed(["short", tuple(range(1000, 3000))])


@pytest.mark.real_model
@pytest.mark.parametrize("tokens", [(49152,), (-1,), ()])
async def test_tokens_there_are_none_of_are_refused(driver, tokens):
    with pytest.raises(BadRequest, match=r"inputs\[0\]"):
        await driver.engine.embed([tokens])


@pytest.mark.real_model
async def test_generating_beside_it_gives_what_it_gives_alone(driver):
    """Two contexts, the same weights."""

    def tell():
        return driver.run("Once upon a time", max_tokens=12, temperature=0.0).tokens

    alone = await asyncio.to_thread(tell)
    embedding = asyncio.create_task(driver.engine.embed(TEXTS * 4))
    assert await asyncio.to_thread(tell) == alone
    await embedding
