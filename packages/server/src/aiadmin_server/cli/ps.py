"""`aiadmin ps`: what the running server has loaded."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ._verb import json_option, verb

COLUMNS = ("NAME", "BACKEND", "PID", "SIZE", "CONTEXT", "ACTIVE", "UNTIL", "NOTES")
N_LATEST = 3
"""Models that went, and fallbacks that were taken, of which the reason is told."""

FOREVER_YEAR = 9999
"""Of `expires_at`, for a model that stays: the API always gives a date."""


@verb
@json_option
def command(as_json: bool) -> None:
    """List the models that are loaded."""
    from ..settings import load_settings
    from ._client import connect
    from ._output import ago, print_json, remark, table

    settings = load_settings()
    with connect(settings.url, settings.api_key) as server:
        loaded = server.get("/api/ps")
    now = datetime.now(UTC)
    if as_json:
        print_json(loaded)
    elif loaded["models"]:
        table(COLUMNS, [row(model, now) for model in loaded["models"]])
    else:
        remark("No model is loaded. The first request for one loads it.")
    if not as_json:
        for gone in loaded.get("unloaded", [])[:N_LATEST]:
            when = ago(datetime.fromisoformat(gone["at"]), now)
            remark(f"{gone['name']} was unloaded {when}: {gone['reason']}.")
        for taken in loaded.get("fallbacks", [])[:N_LATEST]:
            when = ago(datetime.fromisoformat(taken["at"]), now)
            remark(f"{taken['name']} was answered by {taken['model']} {when}: {taken['reason']}")


def row(model: dict[str, Any], now: datetime) -> Sequence[str]:
    """A model of `/api/ps` as people read it."""
    from ._output import size

    names = model.get("names") or [model["name"]]  # a server of an earlier version has neither these nor reasons
    return (
        ", ".join(names),
        model["backend"],
        ", ".join(map(str, model.get("pids") or [model["pid"] or "-"])),
        size(model["size"]),
        str(model["context_length"] or "-"),
        str(model["n_active"]),
        until(model, now),
        "; ".join(filter(None, [model.get("reason"), *model["notes"]])),
    )


def until(model: dict[str, Any], now: datetime) -> str:
    """When it will be unloaded, if nobody asks before."""
    from ._output import span

    if model["state"] != "ready":
        return str(model["state"])
    if model["n_active"]:
        return "in use"
    expires = datetime.fromisoformat(model["expires_at"])
    if expires.year == FOREVER_YEAR:
        return "for ever"
    return f"{span(max(0.0, (expires - now).total_seconds()))} from now"
