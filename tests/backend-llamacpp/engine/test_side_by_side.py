"""Whether a second context pays, on contexts whose steps last as long as is said here."""

import time

import pytest

from aiadmin_llamacpp.engine.side_by_side import SLOW_S, pays


class Timed:
    """A step lasts as long as `seconds` says of its rows and its threads."""

    def __init__(self, seconds, n_threads=2):
        self.seconds = seconds
        self.n_threads = n_threads
        self.n_steps = 0
        self.is_clear = True

    def set_threads(self, n_threads):
        self.n_threads = n_threads

    def decode(self, batch):
        self.n_steps += 1
        self.is_clear = False
        time.sleep(self.seconds(batch.n_tokens, self.n_threads))

    def clear(self):
        self.is_clear = True


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (lambda n_rows, n_threads: 0.004 * n_rows, True),  # threads bring nothing
        (lambda n_rows, n_threads: 0.009 * n_rows / n_threads**0.8, True),  # they bring less than they could
        (lambda n_rows, n_threads: 0.005 * (1 + n_rows) / n_threads, False),  # much of a step is the same for all rows
        (lambda n_rows, n_threads: 0.02 / n_threads, False),  # a row more costs nothing: one batch is better
    ],
)
def test_two_pay_unless_batches_or_threads_are_of_more_use_to_one(seconds, expected):
    contexts = [Timed(seconds), Timed(seconds)]

    assert pays(*contexts) is expected
    assert all(context.is_clear for context in contexts)
    assert [context.n_threads for context in contexts] == [2, 2]


def test_nothing_is_tried_with_one_thread_or_where_trying_takes_long():
    alone = [Timed(lambda *_: 0.0, n_threads=1) for _ in range(2)]
    slow = [Timed(lambda *_: SLOW_S * 1.1) for _ in range(2)]

    assert not pays(*alone)
    assert not pays(*slow)
    assert alone[0].n_steps == slow[1].n_steps == 0
