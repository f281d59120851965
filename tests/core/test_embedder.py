"""Which inputs share a batch, and what becomes of those whose client leaves."""

import asyncio
import threading

import numpy as np
import pytest

from aiadmin_core.embedder import Embedder, share
from aiadmin_core.errors import EngineStopped


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
            raise RuntimeError
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
