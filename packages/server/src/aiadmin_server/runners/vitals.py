"""Whether a runner is alive and well: judged by its heartbeats and its memory. Pure; `process` keeps one `Vitals` for
each runner.

An engine that reports `n_running` also reports how it gets on (`n_steps`, or tokens); one that reports neither is
judged by its heartbeats alone.
"""

from dataclasses import dataclass

from aiadmin_core.specs.model import EngineStats


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long silence is bearable while a request waits, in seconds, and how much a runner may grow."""

    late_s: float = 15.0
    """Without a heartbeat: reported."""
    silent_s: float = 60.0
    """Without a heartbeat: the runner is ended. Heartbeats come every two seconds, a machine that swaps is slow."""
    stuck_s: float = 300.0
    """Without a step, sequences running: the runner is ended. A step of a large model on a slow processor may take
    a minute."""
    grown_share: float = 0.5
    """Of its memory when it had loaded: growth that is suspicious. Caches that are filled are no leak, so it takes
    all three."""
    grown_bytes: int = 1 << 30
    scarce_share: float = 0.1
    """Of the machine's memory: less than this available, and growth becomes dangerous."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident bytes of a runner, and what the machine has."""

    when_loaded: int
    now: int
    available: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """The last heartbeat, and when the engine last got on. Times are `time.monotonic()`."""

    heartbeat_at: float
    progress: tuple[int, ...] = ()
    progress_at: float
    n_running: int = 0


def first(now: float) -> Vitals:
    """Of a runner that has just said hello."""
    return Vitals(heartbeat_at=now, progress_at=now)


def after_heartbeat(vitals: Vitals, stats: EngineStats, limits: Limits, now: float) -> Vitals:
    """Take note of a heartbeat. An engine that was idle starts its time anew, and so does one that was not heard of
    for a while: this process, or the machine, may have been asleep."""
    progress = (stats.n_steps, stats.n_prompt_tokens, stats.n_completion_tokens)
    rested = not stats.n_running or not vitals.n_running or now - vitals.heartbeat_at >= limits.late_s
    got_on = rested or progress != vitals.progress
    return Vitals(
        heartbeat_at=now,
        progress=progress,
        progress_at=now if got_on else vitals.progress_at,
        n_running=stats.n_running,
    )


def trouble(vitals: Vitals, limits: Limits, now: float) -> str | None:
    """What is wrong with a runner that has requests, or None."""
    silent_s = now - vitals.heartbeat_at
    if silent_s >= limits.late_s:
        return f"it has not been heard of for {silent_s:.0f} s"
    if vitals.n_running and now - vitals.progress_at >= limits.stuck_s:
        return f"its engine has not made a step for {now - vitals.progress_at:.0f} s"
    return None


def is_lost(vitals: Vitals, limits: Limits, now: float) -> bool:
    """Whether a runner that has requests is to be ended."""
    return now - vitals.heartbeat_at >= limits.silent_s or (
        vitals.n_running > 0 and now - vitals.progress_at >= limits.stuck_s
    )


def outgrown(memory: Memory, limits: Limits) -> str | None:
    """Why a runner has to be replaced before it takes the machine down with it, or None."""
    grown = memory.now - memory.when_loaded
    if grown < max(limits.grown_bytes, limits.grown_share * memory.when_loaded):
        return None
    if memory.available > limits.scarce_share * memory.total:
        return None
    before, now, left = (size >> 20 for size in (memory.when_loaded, memory.now, memory.available))
    return f"its memory has grown from {before} to {now} MiB, and the machine has {left} MiB left"
