"""Contexts side by side: who answers what, and that nobody sees a difference."""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from aiadmin_core.backend import Ended, TokenRequest
from aiadmin_core.errors import EngineStopped
from aiadmin_core.specs.model import EngineStats
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.engine.lanes import BUSY, Lanes, Prompts, best_lane
from aiadmin_llamacpp.engine.threads import Crew


class Thread:
    """Keeps what it is given."""

    def __init__(self):
        self.submitted, self.cancelled = [], []
        self.stopped = False

    def start(self, sink):
        self.sink = sink

    def submit(self, request):
        if self.stopped:
            raise EngineStopped("It has ended.")
        self.submitted.append(request.id)

    def cancel(self, request_id, choice=None):
        self.cancelled.append((request_id, choice))

    def stats(self):
        return EngineStats(n_running=len(self.submitted), max_batch=3 * len(self.submitted), n_steps=5)


class Two:
    """Two lanes of threads that only take notes."""

    def __init__(self):
        self.threads = [Thread(), Thread()]
        self.lanes = Lanes(self.threads)
        self.seen = []
        self.lanes.start(self.seen.extend)

    def submit(self, id, tokens, *, n=1, salt=""):
        """Gives the lane that has it."""
        request = TokenRequest(
            id=id,
            prompt=(TokenSegment(tuple(tokens)),),
            sampling=SamplingParams(),
            max_tokens=5,
            n=n,
            cache_salt=salt,
        )
        self.lanes.submit(request)
        return [id in thread.submitted for thread in self.threads].index(True)

    def end(self, id, choice=0):
        lane = [id in thread.submitted for thread in self.threads].index(True)
        self.threads[lane].sink([Ended(id, choice, "stop", 0.0, 1, None)])


def prompt(n, start=0):
    return range(start, start + n)


def test_the_lane_that_knows_the_prompt_answers_unless_it_is_busy():
    assert best_lane([0, 0], [10, 10]) == 0
    assert best_lane([1, 0], [10, 10]) == 1
    assert best_lane([1, 0], [10, 11 + BUSY]) == 0
    assert best_lane([3, 0], [10, 11 + BUSY]) == 1


def test_different_prompts_are_shared_out():
    two = Two()

    assert [two.submit(n, prompt(50, start=1000 * n)) for n in range(4)] == [0, 1, 0, 1]


def test_one_request_after_the_other_stays_in_one_lane():
    two = Two()
    for n in range(3):
        assert two.submit(n, prompt(50, start=1000 * n)) == 0
        two.end(n)


def test_a_conversation_goes_on_where_it_began():
    two = Two()
    two.submit(1, prompt(50))
    two.submit(2, prompt(500, start=9000))
    two.end(1)
    two.submit(3, prompt(50, start=7000))

    assert two.submit(4, [*prompt(500, start=9000), 1, 2, 3]) == 1


def test_a_long_prompt_that_all_have_is_read_once():
    two = Two()

    assert {two.submit(n, [*prompt(1000), 5000 + n]) for n in range(8)} == {0}


def test_a_prompt_that_goes_on_takes_the_place_of_its_beginning_among_others():
    prompts = Prompts()
    for tokens in ([1] * 9, [1, 2, 3], [4, 5], [1, 2, 3, 6, 7]):
        prompts.add("", np.array(tokens, np.int32))
    assert len(prompts._last) == 3
    assert prompts.n_known("", np.array([1, 2, 3, 6, 8], np.int32)) == 4


def test_what_another_salt_knows_is_not_known():
    two = Two()
    two.submit(1, prompt(1000), salt="a")

    assert two.submit(2, prompt(1000), salt="b") == 1


def test_a_request_weighs_as_many_choices_as_it_has_left():
    two = Two()
    assert two.submit(1, prompt(50), n=3) == 0
    assert two.submit(2, prompt(50, start=1000)) == 1
    assert two.submit(3, prompt(50, start=2000)) == 1
    two.end(1, 0)
    two.end(1, 1)

    assert two.submit(4, prompt(50, start=3000)) == 0


def test_cancelling_reaches_the_lane_and_only_while_there_is_something_to_cancel():
    two = Two()
    two.submit(1, prompt(50))
    two.submit(2, prompt(50, start=1000), n=2)
    two.lanes.cancel(2, 0)
    two.lanes.cancel(2)
    two.lanes.cancel(2)
    two.end(1)
    two.lanes.cancel(1)

    assert [thread.cancelled for thread in two.threads] == [[], [(2, 0), (2, None)]]
    assert [event.request_id for event in two.seen] == [1]


def test_a_lane_that_has_ended_says_so():
    two = Two()
    two.threads[0].stopped = True
    with pytest.raises(EngineStopped):
        two.submit(1, prompt(50))


def test_figures_are_added_up():
    two = Two()
    for n in range(3):
        two.submit(n, prompt(50, start=1000 * n))

    stats = two.lanes.stats()

    assert (stats.n_running, stats.max_batch, stats.n_steps) == (3, 6, 10)


def test_threads_are_shared_out_among_those_who_work():
    working, n_left = [True, False], 8
    crew = Crew(4, lambda now: n_left)
    for index in range(2):
        crew.join(lambda index=index: working[index])

    assert crew.share(0) == 4
    working[1] = True
    assert crew.share(0) == 2
    n_left = 3
    assert crew.share(0) == 1, "of what others leave"
    working[1] = False
    assert crew.share(0) == 3
    crew.limit(1)
    assert crew.share(0) == 1


@pytest.fixture(scope="module")
def pair(open_driver):
    driver = open_driver(n_ctx=1024, n_parallel=8, n_contexts=2)
    yield driver
    driver.engine.close()


@pytest.mark.real_model
def test_answers_are_those_of_one_context(pair, driver):
    prompts = [driver.chat(f"Tell me about {topic}.") for topic in ("bees", "ships", "rain", "bread", "glass")]
    alone = [driver.run(text, max_tokens=16, cache_salt="lanes").tokens for text in prompts]

    together = [pair.submit(text, max_tokens=16) for text in prompts]
    pair.wait(*together)

    assert [one.tokens for one in together] == alone
    assert all(lane.stats().n_completion_tokens for lane in pair.engine._lanes._lanes)


@pytest.mark.real_model
def test_both_are_closed_with_requests_at_work(open_driver):
    pair = open_driver(n_ctx=512, n_parallel=4, n_contexts=2)
    running = [pair.submit(f"Number {n}", max_tokens=400, ignore_eos=True) for n in range(2)]
    pair.until(lambda: all(one.choices for one in running))

    pair.engine.close()

    assert all(np.size(one.tokens) for one in running)


def native_threads():
    """Ids of this process's threads."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


@pytest.mark.real_model
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_lane_at_rest_keeps_no_threads_that_would_stop_the_other_from_spinning(open_driver):
    from aiadmin_llamacpp.native.batch import Batch

    def decode(context):
        """Gives the threads that came with it."""
        before = native_threads()
        batch = Batch(4)
        batch.add(0, np.array([1, 2, 3], np.int32), 0, rows=[2])
        context.set_threads(2)
        context.decode(batch)
        context.clear()
        return native_threads() - before

    pair = open_driver(n_ctx=512, n_parallel=4, n_contexts=2, n_threads=2)
    for lane in pair.engine._lanes._lanes:
        team = lane.call(partial(decode, lane.stepper._context)).result()
        assert len(team) == 1

        deadline = time.monotonic() + 5
        while team & native_threads() and time.monotonic() < deadline:
            time.sleep(0.002)  # the lane goes to rest by itself
        assert not team & native_threads()

    pair.engine.close()
