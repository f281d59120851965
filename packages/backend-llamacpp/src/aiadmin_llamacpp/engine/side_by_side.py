"""Whether two contexts of a model, each on half the threads, serve faster than one on all of them: tried, when the
model is opened. See `lanes`."""

from concurrent.futures import ThreadPoolExecutor
from statistics import geometric_mean, mean
from time import perf_counter

import numpy as np

from ..native.batch import Batch
from ..native.context import Context

N_ROWS = (2, 8)
"""Sequences decoded to find out, half of them in each context."""

N_STEPS = 3
"""Steps that are timed, after one that is not."""

WORTH = 0.95
"""How many times as fast two have to be, on the geometric mean. Less than 1, because what comes between two steps, and
whoever else runs for a moment (the server, a client), stops one of two and not both threads of one: where they decode
as fast as each other, two give 4 to 16 clients 7 % more tokens/s."""

SLOW_S = 0.15
"""Steps that last longer are those of a model whose weights come from memory at every step: two of them would fetch
them twice, and trying would take long."""


PATIENCE_S = 0.3
"""For the steps of one size."""


def pays(one: Context, other: Context) -> bool:
    """Both contexts are empty, and are left so."""
    n_threads = one.n_threads
    if n_threads < 2:
        return False
    together = [min(_seconds(one, n_rows)) for n_rows in N_ROWS]
    if together[0] > SLOW_S:
        return False
    for context in (one, other):
        context.set_threads(n_threads // 2)
    with ThreadPoolExecutor(2) as threads:
        apart = [
            max(map(mean, threads.map(lambda context, n=n_rows // 2: _seconds(context, n), (one, other))))
            for n_rows in N_ROWS
        ]
    for context in (one, other):
        context.set_threads(n_threads)
    return geometric_mean(a / b for a, b in zip(together, apart, strict=True)) > WORTH


def _seconds(context: Context, n_rows: int) -> list[float]:
    """Of steps with so many sequences; of fewer of them on a machine that is too busy."""
    batch, token = Batch(n_rows), np.ones(1, np.int32)
    seconds = []
    for position in range(N_STEPS + 1):
        batch.clear()
        for sequence in range(n_rows):
            batch.add(sequence, token, position, rows=(0,))
        started = perf_counter()
        context.decode(batch)
        seconds.append(perf_counter() - started)
        if position and sum(seconds) > PATIENCE_S:
            break
    context.clear()
    return seconds[1:]
