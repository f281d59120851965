"""The kit's list of behaviours, and how one is tried. `conformance` and `claims` put theirs on the list."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass

from ..backend import Engine
from ..specs.model import EngineStats

Behaviour = Callable[[Engine], Awaitable[None]]
BEHAVIOURS: list[Behaviour] = []


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the kit waits, in seconds."""

    whole_s: float = 120.0
    """For one behaviour. A small model on a busy laptop takes seconds."""
    idle_s: float = 10.0
    """For the place of a request that is over to be free: a step or two, of which one may read a long prompt."""


_PATIENT = Patience()
PATIENCE: ContextVar[Patience] = ContextVar("PATIENCE", default=_PATIENT)


def behaviour(function: Behaviour) -> Behaviour:
    """Put `function` on the list."""
    BEHAVIOURS.append(function)
    return function


async def check(behaviour: Behaviour, engine: Engine, patience: Patience | None = None) -> None:
    """Try one behaviour. Raises `AssertionError` with a sentence where it does not hold, `asking.NotClaimed` where the
    engine does not promise it."""
    patience = patience or _PATIENT
    token = PATIENCE.set(patience)
    try:
        async with asyncio.timeout(patience.whole_s):
            await behaviour(engine)
    except TimeoutError as error:
        raise AssertionError(
            f"{behaviour.__name__} was not over after {patience.whole_s:g} s; the engine counts {counters(engine)}. "
            f"Does it wait for something that never comes, or never end an answer?"
        ) from error
    finally:
        PATIENCE.reset(token)


def counters(engine: Engine) -> str:
    """What an engine says it has to do."""
    stats = engine.stats()
    assert isinstance(stats, EngineStats), f"`stats` gave {stats!r}, which is no EngineStats"
    return f"n_running={stats.n_running} and n_waiting={stats.n_waiting}"
