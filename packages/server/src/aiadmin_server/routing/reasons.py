"""Why a model was loaded, and why it went: the sentences of the log, of `aiadmin ps` and of `/api/ps`. Pure."""

from typing import Literal

from msgspec import Struct

Why = Literal["idle", "room", "stopped", "outgrown", "removed", "died", "unwanted", "shutdown"]


class Reason(Struct, frozen=True, kw_only=True):
    """Why a model goes, or has gone."""

    why: Why
    text: str
    """As it ends the sentence "Unloaded smollm2:latest: ..."."""


class Departure(Struct, frozen=True, kw_only=True):
    """A model that is no longer loaded."""

    name: str
    backend: str
    at: float
    """Unix seconds."""
    reason: Reason

    @property
    def why(self) -> str:
        return self.reason.text


UNWANTED = Reason(why="unwanted", text="everybody who waited for it has left")
SHUTDOWN = Reason(why="shutdown", text="the server is shutting down")


def idle(keep_alive_s: float) -> Reason:
    return Reason(why="idle", text=f"idle for {duration(keep_alive_s)} (keep_alive)")


def room(model: str, asker: str, *, because: str = "") -> Reason:
    """It makes room for `model`."""
    return Reason(why="room", text=f"to make room for {model}, {asker}{because}")


def stopped(name: str) -> Reason:
    return Reason(why="stopped", text=f"told to, as '{name}'")


def outgrown(trouble: str) -> Reason:
    return Reason(why="outgrown", text=trouble)


def removed(names: str) -> Reason:
    return Reason(why="removed", text=f"{names} was removed, or names another model now")


def died(how: str) -> Reason:
    """`how` as `exits.how_it_ended` says it."""
    return Reason(why="died", text=f"its process {how}")


def overdue(reason: Reason, n_requests: int, drain_s: float) -> Reason:
    """`reason`, where requests did not end in the time they had."""
    cut = f"; {count(n_requests, 'request')} not answered within {duration(drain_s)}"
    return Reason(why=reason.why, text=f"{reason.text}{cut}")


def asker(name: str, asked_by: str, fell_back: str = "") -> str:
    """Who had a model loaded; `fell_back` is why it was this one, where the name means another."""
    instead = f", as a fallback ({fell_back.removesuffix('.')})" if fell_back else ""
    return f"asked for as '{name}'" + (f" by {asked_by}" if asked_by else "") + instead


def loaded(asked: str, *, load_s: float, n_bytes: int) -> str:
    """Why it is there, and what that took."""
    return f"{asked}, loaded in {duration(load_s)}" + (f", {size(n_bytes)}" if n_bytes else "")


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "5 min", "2.5 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(n_bytes: int) -> str:
    """ "412 MB", "5.2 GB"."""
    if n_bytes < 1e6:
        return f"{n_bytes} B"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
