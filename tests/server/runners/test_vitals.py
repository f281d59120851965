"""Which runners count as dead inside."""

import pytest

from aiadmin_core.specs.model import EngineStats
from aiadmin_server.runners.vitals import Limits, Memory, after_heartbeat, first, is_lost, outgrown, trouble

LIMITS = Limits(late_s=10, silent_s=60, stuck_s=300)


def beats(*heartbeats):
    vitals = first(0.0)
    for at, stats in heartbeats:
        vitals = after_heartbeat(vitals, stats, LIMITS, at)
    return vitals


def test_silence_is_first_reported_then_fatal():
    vitals = beats((2.0, EngineStats()))
    assert trouble(vitals, LIMITS, 11.0) is None
    assert trouble(vitals, LIMITS, 12.0) == "it has not been heard of for 10 s"
    assert not is_lost(vitals, LIMITS, 61.0)
    assert is_lost(vitals, LIMITS, 62.0)


def every(interval_s, start, end, stats):
    """Heartbeats that all bring the same."""
    return [(start + n * interval_s, stats) for n in range(int((end - start) / interval_s) + 1)]


def test_an_engine_that_makes_no_step_is_lost_though_its_heart_beats():
    working = EngineStats(n_running=1, n_steps=5)
    vitals = beats((2.0, EngineStats(n_steps=4)), *every(2.0, 4.0, 302.0, working))
    assert not is_lost(vitals, LIMITS, 302.0)
    vitals = after_heartbeat(vitals, working, LIMITS, 304.0)
    assert trouble(vitals, LIMITS, 304.0) == "its engine has not made a step for 300 s"
    assert is_lost(vitals, LIMITS, 304.0)


@pytest.mark.parametrize("got_on", [{"n_steps": 6}, {"n_prompt_tokens": 1}, {"n_completion_tokens": 1}])
def test_any_progress_starts_the_time_anew(got_on):
    before, after = (EngineStats(n_running=1, **counters) for counters in ({"n_steps": 5}, {"n_steps": 5} | got_on))
    vitals = beats(*every(2.0, 4.0, 200.0, before), *every(2.0, 202.0, 500.0, after))
    assert not is_lost(vitals, LIMITS, 500.0)


def test_an_idle_engine_may_rest():
    idle, working = EngineStats(n_steps=5), EngineStats(n_running=1, n_steps=5)
    vitals = beats(*every(2.0, 2.0, 1000.0, idle))
    assert trouble(vitals, LIMITS, 1001.0) is None
    assert not is_lost(after_heartbeat(vitals, working, LIMITS, 1002.0), LIMITS, 1003.0)


def test_a_machine_that_was_asleep_is_not_taken_for_a_stuck_engine():
    working = EngineStats(n_running=1, n_steps=5)
    vitals = beats((2.0, working), (4.0, working), (10_000.0, working))
    assert not is_lost(vitals, LIMITS, 10_001.0)


GIB = 1 << 30


@pytest.mark.parametrize(
    ("when_loaded", "now", "available", "has_outgrown"),
    [
        (4, 7, 2, True),
        (4, 7, 8, False),  # it has grown, and there is room for it
        (4, 5, 2, False),  # memory is short for another's sake
        (0.1, 0.5, 2, False),  # five times of next to nothing
        (40, 42, 2, False),  # caches that fill up
    ],
)
def test_a_runner_has_outgrown_its_place_when_it_grew_much_and_memory_is_short(
    when_loaded, now, available, has_outgrown
):
    memory = Memory(
        when_loaded=int(when_loaded * GIB), now=int(now * GIB), available=int(available * GIB), total=32 * GIB
    )

    assert (outgrown(memory, Limits()) is not None) is has_outgrown
