"""Admission: pure functions."""

from types import SimpleNamespace

import pytest

from aiadmin_mlx.engine.scheduler import next_admission, overfull


def prefill(name, *, rows=1, expected=100, priority=0):
    job = SimpleNamespace(request=SimpleNamespace(priority=priority))
    return SimpleNamespace(name=name, n_rows=rows, n_expected=expected, job=job)


def admitted(waiting, expected=(), *, n_parallel=4, n_cells=1000):
    found = next_admission(waiting, expected, n_parallel=n_parallel, n_cells=n_cells)
    return found.name if found else None


def test_the_first_come_is_the_first_served():
    assert admitted([prefill("a"), prefill("b")]) == "a"


def test_a_higher_priority_comes_first():
    assert admitted([prefill("a"), prefill("b", priority=1), prefill("c", priority=1)]) == "b"


def test_nobody_overtakes_a_request_that_needs_more_room():
    assert admitted([prefill("big", expected=900), prefill("small", expected=10)], [100]) is None


def test_rows_are_as_long_as_the_longest_of_them():
    assert admitted([prefill("a", expected=10)], [400], n_cells=800) == "a"
    assert admitted([prefill("a", expected=10)], [400], n_cells=799) is None


def test_choices_take_a_place_each():
    assert admitted([prefill("a", rows=3)], [100]) == "a"
    assert admitted([prefill("a", rows=4)], [100]) is None


def test_alone_a_request_always_fits():
    assert admitted([prefill("a", rows=4, expected=900)]) == "a"


def test_nothing_waits_nothing_is_admitted():
    assert admitted([]) is None


@pytest.mark.parametrize(
    ("lengths", "full"), [([], False), ([99], False), ([49, 10], False), ([50, 10], True), ([24] * 4, False)]
)
def test_rows_that_cannot_all_grow_are_too_many(lengths, full):
    assert overfull(lengths, n_cells=100) is full
