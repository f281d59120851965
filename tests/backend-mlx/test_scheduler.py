"""Admission and chunk sizes: pure functions."""

from types import SimpleNamespace

import pytest

from aiadmin_mlx.engine.scheduler import MIN_CHUNK, chunk_size, next_admission, overfull, smoothed


def job(name, *, rows=1, expected=100, priority=0):
    return SimpleNamespace(name=name, n_rows=rows, n_expected=expected, request=SimpleNamespace(priority=priority))


def admitted(waiting, expected=(), *, n_parallel=4, n_cells=1000):
    found = next_admission(waiting, expected, n_parallel=n_parallel, n_cells=n_cells)
    return found.name if found else None


def test_the_first_come_is_the_first_served():
    assert admitted([job("a"), job("b")]) == "a"


def test_a_higher_priority_comes_first():
    assert admitted([job("a"), job("b", priority=1), job("c", priority=1)]) == "b"


def test_nobody_overtakes_a_request_that_needs_more_room():
    assert admitted([job("big", expected=900), job("small", expected=10)], [100]) is None


def test_rows_are_as_long_as_the_longest_of_them():
    assert admitted([job("a", expected=10)], [400], n_cells=800) == "a"
    assert admitted([job("a", expected=10)], [400], n_cells=799) is None


def test_choices_take_a_place_each():
    assert admitted([job("a", rows=3)], [100]) == "a"
    assert admitted([job("a", rows=4)], [100]) is None


def test_alone_a_request_always_fits():
    assert admitted([job("a", rows=4, expected=900)]) == "a"


def test_nothing_waits_nothing_is_admitted():
    assert admitted([]) is None


@pytest.mark.parametrize(
    ("lengths", "full"), [([], False), ([99], False), ([49, 10], False), ([50, 10], True), ([24] * 4, False)]
)
def test_rows_that_cannot_all_grow_are_too_many(lengths, full):
    assert overfull(lengths, n_cells=100) is full


@pytest.mark.parametrize(
    ("speed", "decoding", "size"),
    [(20.0, True, MIN_CHUNK), (20.0, False, 16), (1000.0, True, 248), (1000.0, False, 512), (1e6, True, 512)],
)
def test_a_chunk_lasts_no_longer_than_a_stream_may_stall(speed, decoding, size):
    assert chunk_size(tokens_per_s=speed, n_batch=512, decoding=decoding) == size


def test_a_chunk_never_exceeds_the_batch():
    assert chunk_size(tokens_per_s=1.0, n_batch=4, decoding=True) == 4


def test_the_measured_speed_follows_long_chunks_faster_than_short_ones():
    assert smoothed(100.0, n_tokens=512, seconds=1.0) == pytest.approx(306.0)
    assert smoothed(100.0, n_tokens=1, seconds=1.0) == pytest.approx(98.45, abs=0.01)
    assert smoothed(100.0, n_tokens=1, seconds=0.0) == 100.0
