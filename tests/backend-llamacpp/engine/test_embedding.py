"""Vectors of texts: which inputs share a batch, and what the real model makes of them beside generating."""

import asyncio
import threading

import numpy as np
import pytest

from aiadmin_core.errors import BadRequest, EngineStopped, InputTooLong
from aiadmin_llamacpp.engine.embedding import Embedder, share
from aiadmin_llamacpp.native.context import Interrupted

TEXTS = ["A cat sits on the mat.", "A kitten is on a rug.", "The stock market fell by two percent on Monday."]


@pytest.mark.parametrize(
    ("missing", "taken"),
    [
        ([[3, 3, 3]], [3]),
        ([[3, 3, 9]], [2]),
        ([[99, 1], [1]], [1, 0]),
        ([[4, 4, 4], [1, 1, 1]], [2, 2]),
        ([[2, 99], [4, 4, 1]], [1, 2]),
        ([[], [5]], [0, 1]),
        ([], []),
    ],
)
def test_inputs_share_a_batch_one_of_each_job_in_turn(missing, taken):
    assert share(missing, n_tokens=10, n_sequences=4) == taken


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


class SlowContext:
    """A context whose first batch lasts until it is told, or interrupted."""

    n_most, n_sequences, n_embd = 16, 4, 2

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.batches = []
        self.closed = self.interrupted = False

    def embed(self, inputs):
        self.batches.append([len(tokens) for tokens in inputs])
        self.begun.set()
        self.go_on.wait(10)
        if self.interrupted:
            raise Interrupted
        return np.ones((len(inputs), 2), np.float32)

    def interrupt(self):
        self.interrupted = True
        self.go_on.set()

    def close(self):
        self.closed = True


class NoTokenizer:
    """A token for each character, and one before and behind a text."""

    n_vocab = 200
    closing = frozenset({2})

    def encode_whole(self, text):
        return [1, *map(ord, text), 2]


async def test_what_is_cut_keeps_what_the_vocabulary_puts_around_a_text():
    context = SlowContext()
    context.go_on.set()
    context.embed = lambda inputs: read.extend(inputs) or np.ones((len(inputs), 2))
    read = []
    embedder = Embedder(lambda: context, NoTokenizer())
    vectors = await embedder.embed(["a" * 20, (65,) * 20, "a"], truncate=True)
    assert [tokens.tolist() for tokens in read] == [[1, *[97] * 14, 2], [65] * 16, [1, 97, 2]]
    assert vectors.n_tokens == (16, 16, 3)
    embedder.close()


async def test_a_request_that_is_given_up_makes_room_for_the_others():
    context = SlowContext()
    embedder = Embedder(lambda: context, NoTokenizer())
    first = asyncio.create_task(embedder.embed([(1,) * 9] * 5))
    await asyncio.to_thread(context.begun.wait, 10)
    second = asyncio.create_task(embedder.embed([(1,) * 3]))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    context.go_on.set()
    assert (await second).n_tokens == (3,)
    assert context.batches == [[9], [3]]
    embedder.close()
    assert context.closed


async def test_requests_that_are_given_up_while_they_are_computed_end_nobody_else():
    """Their vectors are there when they are gone, both of one batch; the next ones are still made."""
    context, both_wait = SlowContext(), threading.Event()
    embedder = Embedder(lambda: both_wait.wait(10) and context, NoTokenizer())
    leaving = [asyncio.create_task(embedder.embed([(1,)])) for _ in range(2)]
    await asyncio.sleep(0)
    both_wait.set()
    await asyncio.to_thread(context.begun.wait, 10)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    context.go_on.set()
    async with asyncio.timeout(10):
        assert (await embedder.embed([(1,) * 3])).n_tokens == (3,)
    assert context.batches == [[1, 1], [3]]
    embedder.close()


async def test_who_leaves_before_anything_is_read_is_left_out():
    context = SlowContext()
    embedder = Embedder(lambda: context, NoTokenizer())
    first = asyncio.create_task(embedder.embed([(1,)]))
    await asyncio.to_thread(context.begun.wait, 10)
    leaving = [asyncio.create_task(embedder.embed([(1,) * 2])) for _ in range(2)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    context.go_on.set()
    await first
    assert (await embedder.embed([(1,) * 3])).n_tokens == (3,)
    assert context.batches == [[1], [3]]
    embedder.close()


async def test_closing_breaks_off_and_tells_everybody():
    context = SlowContext()
    embedder = Embedder(lambda: context, NoTokenizer())
    first = asyncio.create_task(embedder.embed([(1,)] * 9))
    await asyncio.to_thread(context.begun.wait, 10)
    second = asyncio.create_task(embedder.embed([(1,)]))
    await asyncio.sleep(0)
    await asyncio.to_thread(embedder.close)
    for task in (first, second):
        with pytest.raises(EngineStopped):
            await task
    with pytest.raises(EngineStopped):
        await embedder.embed([(1,)])


async def test_a_context_that_cannot_be_made_is_tried_again():
    tried = []

    def make():
        tried.append(1)
        if len(tried) == 1:
            raise MemoryError
        context = SlowContext()
        context.go_on.set()
        return context

    embedder = Embedder(make, NoTokenizer())
    with pytest.raises(MemoryError):
        await embedder.embed([(1,)])
    assert (await embedder.embed([(1,)])).n_tokens == (1,)
    embedder.close()
