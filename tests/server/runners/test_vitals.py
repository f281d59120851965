"""Which runners count as dead inside."""

from dataclasses import replace

from aiadmin_core.specs.model import EngineStats
from aiadmin_server.runners.vitals import Limits, after_heartbeat, first, is_lost, trouble

LIMITS = Limits(late_s=10, silent_s=60, stuck_s=300)


def beats(*heartbeats):
    vitals = first(0.0)
    for at, stats in heartbeats:
        vitals = after_heartbeat(vitals, stats, at)
    return vitals


def test_silence_is_first_reported_then_fatal():
    vitals = beats((2.0, EngineStats()))
    assert trouble(vitals, LIMITS, 11.0) is None
    assert trouble(vitals, LIMITS, 12.0) == "it has not been heard of for 10 s"
    assert not is_lost(vitals, LIMITS, 61.0)
    assert is_lost(vitals, LIMITS, 62.0)


def test_an_engine_that_makes_no_step_is_lost_though_its_heart_beats():
    working = EngineStats(n_running=1, n_steps=5)
    vitals = beats((2.0, EngineStats(n_steps=4)), (4.0, working), (200.0, working), (304.0, working))
    assert trouble(vitals, LIMITS, 304.0) == "its engine has not made a step for 300 s"
    assert is_lost(vitals, LIMITS, 304.0)


def test_any_progress_starts_the_time_anew():
    vitals = beats((4.0, EngineStats(n_running=1, n_steps=5)))
    for at, stats in [
        (200.0, EngineStats(n_running=1, n_steps=6)),
        (400.0, EngineStats(n_running=1, n_steps=6, n_prompt_tokens=7)),
        (600.0, EngineStats(n_running=1, n_steps=6, n_prompt_tokens=7, n_completion_tokens=1)),
    ]:
        vitals = after_heartbeat(vitals, stats, at)
        assert not is_lost(vitals, LIMITS, at)


def test_an_idle_engine_may_rest():
    vitals = beats((2.0, EngineStats(n_steps=5)), (10_000.0, EngineStats(n_steps=5)))
    assert trouble(vitals, LIMITS, 10_001.0) is None
    begins = after_heartbeat(vitals, EngineStats(n_running=1, n_steps=5), 10_002.0)
    assert not is_lost(begins, LIMITS, 10_003.0)
    assert is_lost(replace(begins, heartbeat_at=10_302.0), LIMITS, 10_302.0)
