"""How many threads, on simulated machines."""

import threading

from aiadmin_llamacpp.engine.threads import (
    ThreadGovernor,
    apart,
    chosen_threads,
    default_threads,
    size_of,
    usable_cores,
)


class Machine:
    """Decodes with a governor; `seconds` gives those of a step of one row by thread count."""

    def __init__(self, n_threads, seconds):
        self.governor = ThreadGovernor(n_threads)
        self.seconds = seconds
        self.now = 0.0

    def decode(self, n_steps, *, n_rows=1, n_cells=100):
        """Gives how many steps each thread count had."""
        used = {}
        for _ in range(n_steps):
            size = size_of(n_rows, n_cells)
            n_threads = self.governor.choose(size, now=self.now)
            used[n_threads] = used.get(n_threads, 0) + 1
            took = self.seconds[n_threads]
            self.now += took
            self.governor.observe(size, took)
        return used


IDLE = {1: 0.018, 2: 0.010}
CROWDED = {1: 0.020, 2: 0.250}


def test_an_idle_machine_keeps_all_threads_but_for_one_trial():
    assert Machine(2, IDLE).decode(2000)[2] > 1990


def test_a_machine_that_was_crowded_from_the_start_is_found_out():
    machine = Machine(2, CROWDED)
    machine.decode(70)

    assert machine.governor.n_threads == 1
    assert machine.decode(2000)[1] > 1900


def test_batches_that_change_with_every_step_hide_nothing():
    """Requests come and go, so hardly two steps in a row are of one size."""
    machine = Machine(2, IDLE)
    for n in range(200):
        machine.seconds = {count: seconds * (1 + n % 7) for count, seconds in IDLE.items()}
        machine.decode(1, n_rows=1 + n % 7)
    assert machine.governor.n_threads == 2
    for n in range(30):
        machine.seconds = {count: seconds * (1 + n % 7) for count, seconds in CROWDED.items()}
        machine.decode(1, n_rows=1 + n % 7)

    assert machine.governor.n_threads == 1


def test_a_collapse_is_answered_with_fewer_threads_within_a_dozen_steps():
    machine = Machine(2, IDLE)
    machine.decode(100)
    machine.seconds = CROWDED

    machine.decode(14)

    assert machine.governor.n_threads == 1


def test_trials_cost_little_while_the_machine_stays_crowded():
    machine = Machine(2, IDLE)
    machine.decode(100)
    machine.seconds = CROWDED
    machine.decode(20)
    start = machine.now

    machine.decode(3000)

    assert machine.now - start < 3000 * CROWDED[1] * 1.15


def test_the_threads_come_back_when_the_machine_is_idle_again():
    machine = Machine(2, IDLE)
    machine.decode(100)
    machine.seconds = CROWDED
    machine.decode(2000)
    machine.seconds = IDLE
    start = machine.now

    while machine.governor.n_threads == 1:
        machine.decode(1)

    assert machine.now - start < 10
    assert machine.decode(300) == {2: 300}


def test_steps_that_grow_slower_with_the_context_do_not_cost_the_threads():
    machine = Machine(4, {1: 0.040, 2: 0.020, 4: 0.010})
    machine.decode(60)
    machine.seconds = {count: seconds * 2 for count, seconds in machine.seconds.items()}

    assert machine.decode(1000, n_cells=3000) == {4: 1000}


def test_another_batch_size_is_not_taken_for_a_slower_machine():
    machine = Machine(2, IDLE)
    machine.decode(100, n_rows=1)
    machine.seconds = {1: 0.08, 2: 0.05}

    assert machine.decode(100, n_rows=8) == {2: 100}


def test_each_size_has_the_count_that_suits_it():
    """One row is no faster on two threads, as long as somebody disturbs them now and then; eight are."""
    machine = Machine(2, {1: 0.0075, 2: 0.0069})
    machine.decode(60)
    for n in range(400):
        machine.seconds = {1: 0.0075, 2: 0.0069 * (1.3 if n % 2 else 1)}
        machine.decode(1)
    alone = machine.governor.n_threads
    machine.seconds = {1: 0.052, 2: 0.029}

    together = machine.decode(200, n_rows=8)

    assert alone == 1
    assert together[2] > 190


def test_a_share_of_the_cores_is_kept_to():
    machine = Machine(4, {1: 0.040, 2: 0.020, 4: 0.010})
    machine.decode(60)
    machine.governor.limit(2)

    assert set(machine.decode(300)) <= {1, 2}

    machine.governor.limit(4)
    assert machine.decode(300)[4] > 290


def test_a_single_thread_has_nothing_to_try():
    machine = Machine(1, {1: 0.01})
    machine.decode(20)
    machine.seconds = {1: 0.5}

    assert machine.decode(50) == {1: 50}


def test_what_is_computed_apart_leaves_no_thread_behind():
    thread = apart(threading.current_thread)

    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_all_of_a_few_cores_and_half_of_many():
    assert [default_threads(n) for n in (1, 2, 4, 8, 32)] == [1, 2, 4, 4, 16]


def test_no_more_threads_are_taken_than_there_are_processors():
    assert chosen_threads(28_263) == usable_cores()
    assert chosen_threads(1) == 1
    assert chosen_threads(None) == default_threads(usable_cores())
