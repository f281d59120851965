"""The threads that OpenMP keeps for those that compute."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc"),
]


def threads():
    """Ids of this process's threads."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def end(some):
    """Whether these threads end: it takes them a moment."""
    deadline = time.monotonic() + 5
    while some & threads() and time.monotonic() < deadline:
        time.sleep(0.002)
    return not some & threads()


def decode(context):
    """The logits, and the threads that came for them."""
    from aiadmin_llamacpp.native.batch import Batch

    before = threads()
    context.clear()
    batch = Batch(4)
    batch.add(0, np.array([1, 2, 3], np.int32), 0, rows=[2])
    context.decode(batch)
    return context.logits(1).copy(), threads() - before


@pytest.fixture(scope="module")
def context(tiny_gguf):
    from aiadmin_llamacpp.native.context import Context, ContextSettings
    from aiadmin_llamacpp.native.model import Model

    model = Model([str(tiny_gguf)], n_gpu_layers=0, use_extra_bufts=False)
    context = Context(model, ContextSettings(n_ctx=256, n_batch=64, n_sequences=2, n_threads=3))
    yield context
    context.close()
    model.close()


def test_a_team_ends_when_it_is_dismissed_and_comes_back_with_the_next_step(context):
    from aiadmin_llamacpp.native import team

    with ThreadPoolExecutor(1) as engine:  # a thread that lives on, as an engine's does
        first, others = engine.submit(decode, context).result()
        assert len(others) == 2, "and the thread itself"

        engine.submit(team.dismiss).result()

        assert end(others)
        again, another = engine.submit(decode, context).result()
        assert np.array_equal(again, first)
        assert len(another) == 2
        engine.submit(team.dismiss).result()


def test_a_thread_that_never_computed_has_nothing_to_dismiss():
    from aiadmin_llamacpp.native import team

    with ThreadPoolExecutor(1) as engine:
        engine.submit(team.dismiss).result()
        engine.submit(team.dismiss).result()
