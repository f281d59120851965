"""What the command line asks a running server: `/api/version`, `/api/ps`, `/api/stop`."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, get, post
from msgspec import Struct

import aiadmin_server

from ...http.errors import read_body
from ...http.reading import decode
from ...serving.ports import LoadedModel, RouterDependency

FOREVER = "9999-12-31T23:59:59Z"
"""How `expires_at` of a model that stays is written: clients of this API expect a date."""
LAST_YEAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class Stop(Struct, frozen=True, kw_only=True):
    model: str


@get("/api/version")
async def version() -> dict[str, str]:
    """The server's version."""
    return {"version": aiadmin_server.__version__}


@get("/api/ps")
async def ps(router: RouterDependency) -> dict[str, list[dict[str, Any]]]:
    """What is loaded, and how busy it is."""
    return {"models": [describe(model) for model in router.loaded()]}


@post("/api/stop", status_code=200)
async def stop(request: Request[Any, Any, Any], router: RouterDependency) -> dict[str, bool]:
    """Unload a model now, without waiting for its `keep_alive`."""
    return {"stopped": await router.unload(decode(await read_body(request), Stop).data.model)}


def describe(model: LoadedModel) -> dict[str, Any]:
    """One line of `/api/ps`."""
    facts, stats = model.facts, model.stats
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        "digest": model.digest,
        "expires_at": _timestamp(model.expires_at),
        "size_vram": 0 if facts.device == "cpu" else model.size_bytes,
        "context_length": facts.n_ctx,
        "backend": model.backend,
        "pid": model.pid,
        "state": model.state,
        "notes": list(model.notes),
        "n_active": model.n_active,
        "facts": msgspec.to_builtins(facts),
        "stats": msgspec.to_builtins(stats),
    }


def _timestamp(expires_at: float | None) -> str:
    if expires_at is None or not expires_at < LAST_YEAR:
        return FOREVER
    return datetime.fromtimestamp(expires_at, UTC).isoformat().replace("+00:00", "Z")
