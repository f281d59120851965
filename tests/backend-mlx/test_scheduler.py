"""Admission and chunk sizes: pure functions."""

from types import SimpleNamespace

import pytest

from aiadmin_mlx.engine.scheduler import MIN_CHUNK, chunk_size, next_admission, smoothed


def job(name, *, rows=1, most=100, priority=0):
    return SimpleNamespace(name=name, n_rows=rows, n_most=most, request=SimpleNamespace(priority=priority))


def admitted(waiting, running=(), *, n_parallel=4, n_cells=1000):
    found = next_admission(waiting, running, n_parallel=n_parallel, n_cells=n_cells)
    return found.name if found else None


def test_the_first_come_is_the_first_served():
    assert admitted([job("a"), job("b")]) == "a"


def test_a_higher_priority_comes_first():
    assert admitted([job("a"), job("b", priority=1), job("c", priority=1)]) == "b"


def test_nobody_overtakes_a_request_that_needs_more_room():
    assert admitted([job("big", most=900), job("small", most=10)], [job("running")]) is None


def test_rows_are_as_long_as_the_longest_of_them():
    running = [job("long", most=400)]

    assert admitted([job("a", most=10)], running, n_cells=800) == "a"
    assert admitted([job("a", most=10)], running, n_cells=799) is None


def test_choices_take_a_place_each():
    assert admitted([job("a", rows=3)], [job("running")]) == "a"
    assert admitted([job("a", rows=4)], [job("running")]) is None


def test_alone_a_request_always_fits():
    assert admitted([job("a", rows=4, most=900)], [job("cancelled", rows=0)]) == "a"


def test_nothing_waits_nothing_is_admitted():
    assert admitted([]) is None


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
