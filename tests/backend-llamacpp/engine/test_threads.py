"""How many threads, on simulated machines."""

from aiadmin_llamacpp.engine.threads import ThreadGovernor, default_threads, prepare_environment


class Machine:
    """Decodes with a governor; `speed` gives the seconds of a step by thread count."""

    def __init__(self, n_threads, seconds):
        self.governor = ThreadGovernor(n_threads)
        self.seconds = seconds
        self.now = 0.0

    def decode(self, n_steps, *, n_tokens=1):
        """Gives how many steps each thread count had."""
        used = {}
        for _ in range(n_steps):
            n_threads = self.governor.n_threads
            used[n_threads] = used.get(n_threads, 0) + 1
            took = self.seconds[n_threads]
            self.now += took
            self.governor.observe(n_tokens=n_tokens, seconds=took, now=self.now)
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
        machine.decode(1, n_tokens=1 + n % 7)
    assert machine.governor.n_threads == 2
    for n in range(30):
        machine.seconds = {count: seconds * (1 + n % 7) for count, seconds in CROWDED.items()}
        machine.decode(1, n_tokens=1 + n % 7)

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
    """Half of them is tried, found to be slower still, and given up."""
    machine = Machine(4, {1: 0.040, 2: 0.020, 4: 0.010})
    machine.decode(50)
    machine.seconds = {count: seconds * 2 for count, seconds in machine.seconds.items()}

    used = machine.decode(1000)

    assert used[4] > 950


def test_another_batch_size_is_not_taken_for_a_slower_machine():
    machine = Machine(2, IDLE)
    machine.decode(100, n_tokens=1)
    machine.seconds = {1: 0.08, 2: 0.05}

    assert machine.decode(100, n_tokens=8) == {2: 100}


def test_a_single_thread_has_nothing_to_try():
    machine = Machine(1, {1: 0.01})
    machine.decode(20)
    machine.seconds = {1: 0.5}

    assert machine.decode(50) == {1: 50}


def test_the_users_own_waiting_policy_is_left_alone():
    assert prepared({}) == {"GOMP_SPINCOUNT": "1000"}
    assert prepared({"GOMP_SPINCOUNT": "7"}) == {"GOMP_SPINCOUNT": "7"}
    assert prepared({"OMP_WAIT_POLICY": "passive"}) == {"OMP_WAIT_POLICY": "passive"}


def prepared(environ):
    prepare_environment(environ)
    return environ


def test_all_of_a_few_cores_and_half_of_many():
    assert [default_threads(n) for n in (1, 2, 4, 8, 32)] == [1, 2, 4, 4, 16]
