"""How many processors others leave."""

import subprocess
import sys
import time

import pytest

from aiadmin_llamacpp.engine.neighbours import MOST_LOOKS, WINDOW_S, Neighbours, Reading, left_of, read_times


@pytest.mark.parametrize(
    ("n_cores", "computed", "own", "left"),
    [
        (2, 2.0, 2.0, 2),  # all of it is ours
        (2, 2.0, 1.0, 1),  # two of us, each with two threads
        (2, 1.7, 1.0, 2),  # a client and the server
        (2, 1.9, 1.0, 1),
        (1, 1.0, 0.5, 1),
        (16, 9.0, 7.0, 14),
        (4, 4.0, 0.0, 1),  # somebody has everything: one is ours
        (4, 1.0, 1.05, 4),  # counted at different moments
    ],
)
def test_what_others_compute_is_not_ours(n_cores, computed, own, left):
    assert left_of(n_cores, Reading(5.0, 100.0, 50.0), Reading(6.0, 100.0 + computed, 50.0 + own)) == left


@pytest.mark.parametrize(
    ("running", "left"),
    [([1], 2), ([2, 2, 2], 1), ([3, 2, 1], 2), ([None, None, None], 1)],
    ids=["nobody", "somebody", "who has answered us", "unknown"],
)
def test_who_computed_while_we_rested_counts_only_if_it_still_runs(running, left):
    looks = iter([*running, *running[-1:] * MOST_LOOKS])
    readings = iter([Reading(0.0, 0.0, 0.0), Reading(60.0, 60.0, 0.0)])

    assert Neighbours(2, lambda: next(readings), lambda: next(looks)).n_left(60.0) == left


def test_it_looks_again_once_a_window_has_passed():
    readings = iter([Reading(0.0, 0.0, 0.0), Reading(WINDOW_S, WINDOW_S, 0.0), Reading(9.0, WINDOW_S, 0.0)])
    neighbours = Neighbours(2, lambda: next(readings))

    assert neighbours.n_left(WINDOW_S / 2) == 2, "nothing is known yet"
    assert neighbours.n_left(WINDOW_S) == 1
    assert neighbours.n_left(WINDOW_S * 1.5) == 1
    assert neighbours.n_left(9.0) == 2


def test_a_busy_process_counts_and_our_own_threads_do_not():
    before = read_times()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    ours = read_times()
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        assert busy.stdout
        busy.stdout.readline()
        began = read_times()
        while (now := read_times()).computed - began.computed < 0.2:
            time.sleep(0.01)
        busy.kill()

    assert ours.own - before.own == pytest.approx(0.3, abs=0.2)
    assert ours.computed - before.computed > 0.1
    assert now.own - began.own < now.computed - began.computed
