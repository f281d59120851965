"""`GET /api/ps` and `POST /api/stop`: what is loaded, and how to be rid of it."""

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get, post
from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.specs.model import EngineStats, ModelFacts

from ...http.openapi import described
from ...http.reading import read
from ...routing.entry import LoadedModel
from ...serving.dependencies import RouterDependency

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
    expires_at: str
    size_vram: int
    context_length: int
    names: list[str]
    """Every name it is served under, `name` first."""
    backend: str
    pid: int | None
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


class Running(Struct, frozen=True, kw_only=True):
    models: list[RunningModel]
    unloaded: list[UnloadedModel] | UnsetType = UNSET
    """The last that went, the latest first."""


@get("/api/ps", opt=described(response=Running))
async def ps(router: RouterDependency) -> Running:
    """What is loaded, how busy it is and why it is there; what went, and why."""
    await router.refresh()
    unloaded = [
        UnloadedModel(name=gone.name, backend=gone.backend, at=_timestamp(gone.at), reason=gone.why)
        for gone in router.departed()
    ]
    return Running(models=[running(model) for model in router.loaded()], unloaded=unloaded or UNSET)


@post("/api/stop", status_code=200, opt=described(StopRequest, Stopped, closed=False))
async def stop(request: Request[Any, Any, Any], router: RouterDependency) -> Stopped:
    """Unload a model now, without waiting for its `keep_alive`."""
    return Stopped(stopped=await router.unload((await read(request, StopRequest)).data.model))


def running(model: LoadedModel) -> RunningModel:
    facts = model.facts
    return RunningModel(
        name=model.name,
        model=model.name,
        size=model.size_bytes,
        digest=model.digest,
        names=list(model.names),
        expires_at=_timestamp(model.expires_at),
        size_vram=0 if facts.device == "cpu" else model.size_bytes,
        context_length=facts.n_ctx,
        backend=model.backend,
        pid=model.pid,
        state=model.state,
        reason=model.reason,
        notes=list(model.notes),
        n_active=model.n_active,
        facts=facts,
        stats=model.stats,
    )


def _timestamp(expires_at: float | None) -> str:
    if expires_at is None or not expires_at < LAST_YEAR:
        return FOREVER
    return datetime.fromtimestamp(expires_at, UTC).isoformat().replace("+00:00", "Z")
