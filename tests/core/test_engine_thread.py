"""The thread under every engine: commands, faults, and how it ends."""

import threading

import pytest

from aiadmin_core.backend import Broken, Ended, Prefilled, Sampled, TokenRequest
from aiadmin_core.engine_thread import EngineThread, Gauges
from aiadmin_core.errors import BadRequest, EngineStopped
from aiadmin_core.jobs import Limits
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams

WAIT_S = 10


class Countdown:
    """A stepper whose every choice gets a token a step, up to `max_tokens`.

    A step waits for `go`, and raises what `fault` holds.
    """

    hands_over = False

    limits = Limits(n_ctx=100, n_vocab=10, n_parallel=4)

    def __init__(self, reports):
        self.reports = reports
        self.left = {}
        self.fault = None
        self.go = threading.Event()
        self.go.set()
        self.reached = threading.Event()
        self.thread = threading.current_thread()
        self.closed_by = None
        self.forsaken = []
        self.pieces = []
        """What is to be done at rest, one a time."""

    @property
    def has_work(self):
        return bool(self.left)

    def add(self, job):
        if job.request.priority < 0:
            raise ValueError("nobody reads this")
        self.left |= {(job, choice): job.max_tokens for choice in range(job.request.n)}

    def cancel(self, request_id, choice):
        gone = [key for key in self.left if key[0].request.id == request_id and choice in (None, key[1])]
        for key in gone:
            del self.left[key]
        return len(gone)

    def step(self):
        self.reached.set()
        assert self.go.wait(WAIT_S)
        if self.fault:
            raise self.fault
        for job, choice in list(self.left):
            if not job.prefilled_at:
                self.reports.prefilled(job, now=1.0)
            self.reports.sampled(Sampled(job.request.id, choice, 7))
            self.left[job, choice] -= 1
            if not self.left[job, choice]:
                del self.left[job, choice]
                self.reports.ended(job, choice, "length", n_tokens=job.max_tokens, token=None)
        self.reports.stepped(n_sampled=len(self.left))

    def forsake(self, request_id):
        self.forsaken.append(request_id)
        self.go.set()

    def start_over(self):
        self.left.clear()

    def rest(self):
        if self.pieces:
            self.pieces.pop(0)()
        return bool(self.pieces)

    def gauges(self):
        return Gauges(n_running=len(self.left), kv_total=100)

    def close(self):
        self.closed_by = threading.current_thread()


class Run:
    """An engine thread that has been started, and what its sink was told."""

    def __init__(self, *, start=True):
        self.thread = EngineThread("test", Countdown)
        self.stepper = self.thread.stepper
        self.events = []
        self.changed = threading.Condition()
        if start:
            self.thread.start(self.sink)

    def sink(self, events):
        with self.changed:
            self.events.extend(events)
            self.changed.notify_all()

    def submit(self, id, *, max_tokens=2, n=1, **fields):
        prompt = (TokenSegment((1, 2)),)
        self.thread.submit(
            TokenRequest(id=id, prompt=prompt, sampling=SamplingParams(), max_tokens=max_tokens, n=n, **fields)
        )

    def of(self, id):
        return [event for event in self.events if event.request_id == id]

    def wait(self, id, *, n=1):
        """The last event of a request with `n` choices."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.ends(id) >= n or self.error(id), WAIT_S), self.of(id)
        return self.of(id)[-1]

    def ends(self, id):
        return sum(isinstance(event, Ended) for event in self.of(id))

    def error(self, id):
        return next((event.error for event in self.of(id) if isinstance(event, Broken)), None)


@pytest.fixture
def run():
    run = Run()
    yield run
    run.stepper.go.set()
    run.thread.close()


def test_a_request_is_prefilled_sampled_and_ended(run):
    run.submit(1)
    run.wait(1)

    assert [type(event) for event in run.of(1)] == [Prefilled, Sampled, Sampled, Ended]
    stats = run.thread.stats()
    assert (stats.n_steps, stats.n_prompt_tokens, stats.n_running, stats.kv_total) == (2, 2, 0, 100)


def test_rest_goes_on_in_pieces_and_a_request_comes_between_two(run):
    rested, resting, may_go_on = [], threading.Event(), threading.Event()

    def first():
        resting.set()
        assert may_go_on.wait(WAIT_S)
        rested.append(len(run.of(1)))

    done = threading.Event()
    pieces = [first, lambda: rested.append(len(run.of(1))), done.set]
    run.thread.call(lambda: run.stepper.pieces.extend(pieces)).result(WAIT_S)
    assert resting.wait(WAIT_S)
    run.submit(1)
    may_go_on.set()

    assert done.wait(WAIT_S), "nothing else wakes it"
    assert rested == [0, 4], "the request was answered whole between the first and the second"


def test_everything_of_the_stepper_happens_on_one_thread():
    run = Run()
    run.thread.close()

    assert run.stepper.thread is run.stepper.closed_by is not threading.current_thread()


def test_what_making_the_stepper_raises_is_raised_where_the_engine_is_made():
    def make(_reports):
        raise BadRequest("no such model")

    with pytest.raises(BadRequest, match="no such model"):
        EngineThread("test", make)


def test_a_request_that_is_refused_harms_no_other(run):
    run.submit(1, max_tokens=30)
    run.submit(2, n=9)
    run.submit(3, priority=-1)

    assert run.wait(2).error.param == "n"
    assert isinstance(run.wait(3).error, ValueError)
    assert isinstance(run.wait(1), Ended)


def test_a_cancelled_request_hears_nothing_more_and_is_counted_once(run):
    run.stepper.go.clear()
    run.submit(1, max_tokens=50, n=2)
    assert run.stepper.reached.wait(WAIT_S)
    run.thread.cancel(1)
    run.thread.cancel(1)
    run.thread.cancel(99)
    run.submit(2)
    run.stepper.go.set()
    run.wait(2)

    assert run.ends(1) == 0
    assert run.thread.stats().n_cancelled == 1


def test_a_choice_that_is_freed_because_its_answer_is_complete_is_no_cancel(run):
    run.stepper.go.clear()
    run.submit(1, max_tokens=5, n=2)
    assert run.stepper.reached.wait(WAIT_S)
    run.thread.cancel(1, 0)
    run.stepper.go.set()
    run.wait(1)

    assert [event.choice for event in run.of(1) if isinstance(event, Ended)] == [1]
    assert run.thread.stats().n_cancelled == 0


def test_a_failed_step_ends_the_open_requests_and_decoding_goes_on(run):
    run.submit(1)
    run.wait(1)
    run.stepper.go.clear()
    run.submit(2, n=2)
    run.submit(3, max_tokens=50)
    assert run.stepper.reached.wait(WAIT_S)
    run.stepper.fault = MemoryError("no room")
    run.stepper.go.set()

    assert isinstance(run.wait(2).error, MemoryError)
    run.stepper.fault = None
    run.submit(4)
    assert isinstance(run.wait(4), Ended)
    assert len([event for event in run.of(2) if isinstance(event, Broken)]) == 1


def test_two_failed_steps_without_a_good_one_between_end_the_thread(run):
    run.stepper.fault = MemoryError("no room")
    run.submit(1)
    assert isinstance(run.wait(1).error, MemoryError)
    run.submit(2)

    assert "engine thread died: MemoryError: no room" in str(run.wait(2).error)
    for call in (run.thread.stats, lambda: run.submit(3), lambda: run.thread.call(int)):
        with pytest.raises(EngineStopped, match="died"):
            call()


def test_closing_ends_open_and_queued_requests(run):
    run.stepper.go.clear()
    run.submit(1, max_tokens=50)
    assert run.stepper.reached.wait(WAIT_S)
    run.submit(2)
    later = run.thread.call(int)
    closing = threading.Thread(target=run.thread.close)
    closing.start()
    while True:  # `close` refuses first
        try:
            run.submit(3)
        except EngineStopped:
            break
    run.stepper.go.set()
    closing.join(WAIT_S)

    assert "unloaded" in str(run.wait(1).error)
    assert run.ends(2) or "unloaded" in str(run.error(2))
    assert later.done()
    assert run.thread.stats().n_steps == 1


def test_an_engine_that_was_never_started_can_be_closed():
    Run(start=False).thread.close()


def test_work_is_done_between_two_steps_and_its_faults_are_its_callers(run):
    run.submit(1, max_tokens=50)

    assert run.thread.call(threading.current_thread).result(WAIT_S) is run.stepper.thread
    with pytest.raises(ZeroDivisionError):
        run.thread.call(lambda: 1 // 0).result(WAIT_S)
    assert isinstance(run.wait(1), Ended)


def test_a_step_in_progress_hears_at_once_who_leaves():
    """So that it can be broken off: the command itself is only taken after it."""
    run = Run()
    run.stepper.go.clear()
    run.submit(1, max_tokens=1000)
    assert run.stepper.reached.wait(WAIT_S)

    run.thread.cancel(1)
    run.thread.close()

    assert run.stepper.forsaken == [1, None]
