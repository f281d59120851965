"""`GET /api/ps` and `POST /api/stop`: what is loaded, and how to be rid of it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from litestar import Request, get, post
from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.specs.model import EngineStats, ModelFacts

from ...http.openapi import described
from ...http.reading import read
from ...routing.entry import LoadedModel
from ...serving.dependencies import ResolverDependency, RouterDependency
from ...store.model import StoredModel
from .describing import Details, bare, details_of, details_of_loaded, timestamp

FOREVER = "9999-12-31T23:59:59Z"
"""How `expires_at` of a model that stays is written: clients of this API expect a date."""
LAST_YEAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class StopRequest(Struct, frozen=True, kw_only=True):
    model: str


class Stopped(Struct, frozen=True, kw_only=True):
    stopped: bool
    """Whether it was loaded."""


class RunningModel(Struct, frozen=True, kw_only=True):
    """One line of `/api/ps`; what comes after `size_vram` is ours."""

    name: str
    model: str
    size: int
    digest: str
    """As `/api/tags` has it; that of the weights where the store does not have the model."""
    details: Details
    expires_at: str
    size_vram: int
    context_length: int
    names: list[str]
    """Every name it is served under, `name` first."""
    backend: str
    pid: int | None
    """Of the first of its engines."""
    pids: list[int]
    state: str
    """`starting`, `ready` or `stopping`."""
    reason: str
    """Why it is there; why it goes, where it does."""
    notes: list[str]
    n_active: int
    """Requests that it works on, or that wait for it."""
    facts: ModelFacts
    stats: EngineStats


class UnloadedModel(Struct, frozen=True, kw_only=True):
    """A model that is no longer loaded."""

    name: str
    backend: str
    at: str
    reason: str


class TakenFallback(Struct, frozen=True, kw_only=True):
    """A name that was answered by another model than it stands for."""

    name: str
    model: str
    at: str
    reason: str


class Running(Struct, frozen=True, kw_only=True):
    models: list[RunningModel]
    unloaded: list[UnloadedModel] | UnsetType = UNSET
    """The last that went, the latest first."""
    fallbacks: list[TakenFallback] | UnsetType = UNSET
    """The last that were taken, the latest first."""


@get("/api/ps", opt=described(response=Running))
async def ps(router: RouterDependency, resolver: ResolverDependency) -> Running:
    """What is loaded, how busy it is and why it is there; what went, and why."""
    await router.refresh()
    unloaded = [
        UnloadedModel(name=gone.name, backend=gone.backend, at=timestamp(gone.at), reason=gone.why)
        for gone in router.departed()
    ]
    stored = await asyncio.to_thread(resolver.store.models)
    known = {model.name: model for model in stored}
    running = [_running(model, known.get(model.name)) for model in router.loaded()]
    running.sort(key=lambda model: model.expires_at, reverse=True)
    fallbacks = [
        TakenFallback(name=one.name, model=one.model, at=timestamp(one.at), reason=one.reason)
        for one in router.fallbacks()
    ]
    return Running(models=running, unloaded=unloaded or UNSET, fallbacks=fallbacks or UNSET)


@post("/api/stop", status_code=200, opt=described(StopRequest, Stopped, closed=False))
async def stop(request: Request[Any, Any, Any], router: RouterDependency) -> Stopped:
    """Unload a model now, without waiting for its `keep_alive`."""
    return Stopped(stopped=await router.unload((await read(request, StopRequest)).data.model))


def _running(model: LoadedModel, stored: StoredModel | None) -> RunningModel:
    facts = model.facts
    return RunningModel(
        name=model.name,
        model=model.name,
        size=model.size_bytes + facts.device_bytes,
        digest=bare(stored.digest if stored else model.digest),
        details=details_of(stored) if stored else details_of_loaded(model),
        names=list(model.names),
        expires_at=_expiry(model.expires_at),
        size_vram=facts.device_bytes or (0 if facts.device == "cpu" else model.size_bytes),
        context_length=facts.n_ctx,
        backend=model.backend,
        pid=model.pid,
        pids=list(model.pids),
        state=model.state,
        reason=model.reason,
        notes=list(model.notes),
        n_active=model.n_active,
        facts=facts,
        stats=model.stats,
    )


def _expiry(expires_at: float | None) -> str:
    if expires_at is None or not expires_at < LAST_YEAR:
        return FOREVER
    return timestamp(expires_at)
