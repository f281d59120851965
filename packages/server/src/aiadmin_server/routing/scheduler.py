"""Which models may load, which have to go, and whom to refuse: decided from a `Situation`, and from nothing else.

The fleet describes the situation after whatever changes it, and carries out what `schedule` decides. What must never
break is in `design.md` beside this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.errors import AiAdminError, ModelLoadFailed, Overloaded
from aiadmin_core.memory import Memory

from . import eviction, reasons
from .eviction import Candidate
from .reasons import Reason, size

State = Literal["queued", "loading", "ready", "draining", "stopping"]
"""queued: waits for a place; loading; ready; draining: gets no new requests; stopping: its process is being ended."""
NEVER = float("inf")
NOTHING = MemoryEstimate()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the settings allow, and how long things may take."""

    max_loaded: int = 3
    patience_s: float = 30.0
    """How long a model waits for another to become idle before one is made to, or it is refused."""
    drain_s: float = 300.0
    """How long the requests of a model that goes may take to end."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that is loaded, or on its way in or out."""

    id: int
    name: str
    state: State
    takes_place: bool = True
    """False for a backend that needs no process: a remote model must not push a local one out."""
    need: MemoryEstimate | None = NOTHING
    """Bytes it takes, or will; None while that is being found out."""
    n_leased: int = 0
    n_waiting: int = 0
    since: float = 0.0
    """When it came into its state."""
    last_used_at: float = 0.0
    keep_alive_s: float = NEVER
    load_s: float = 1.0
    asker: str = "asked for"
    """Who had it loaded, as `reasons.asker` says it."""
    outgrown: str | None = None
    """Why it is to be replaced as soon as its requests are answered."""
    reason: Reason | None = None
    """Why it goes, once it does."""

    @property
    def n_bytes(self) -> int:
        return self.need.n_bytes if self.need is not None and self.takes_place else 0

    @property
    def is_idle(self) -> bool:
        return self.state == "ready" and not self.n_leased and not self.n_waiting

    @property
    def expires_at(self) -> float:
        return self.last_used_at + self.keep_alive_s if self.is_idle else NEVER


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that is decided by. Models in the order they were asked for."""

    models: Sequence[Model]
    memory: Memory | None
    """None where the machine does not tell: then only places count."""
    limits: Limits
    now: float


class Effects(Protocol):
    """What a decision makes happen. Each returns at once."""

    def load(self, id: int) -> None:
        """Open the model of a queued entry."""

    def drain(self, id: int, reason: Reason) -> None:
        """Give it no new requests; those it has go on."""

    def stop(self, id: int, reason: Reason) -> None:
        """End it now; requests it still has fail."""

    def refuse(self, id: int, error: AiAdminError) -> None:
        """Tell everybody who waits for a queued entry, and forget it."""

    def look_again(self, at: float) -> None:
        """Schedule once more at this time (`NEVER`: not before something changes), instead of when it was to be."""


def schedule(situation: Situation, effects: Effects) -> None:
    """Decide, and have it carried out."""
    world = _World(situation, effects)
    for model in situation.models:
        world.let_go(model)
    for model in situation.models:
        if model.state == "queued" and not model.takes_place:
            world.load(model)
    for model in situation.models:
        if model.state == "queued" and model.takes_place and not world.admit(model):
            break  # places are given in the order they were asked for
    effects.look_again(world.next_at)


@dataclass
class _World:
    """The situation as it becomes while decisions are made."""

    situation: Situation
    effects: Effects
    models: dict[int, Model] = field(init=False)
    next_at: float = NEVER

    def __post_init__(self) -> None:
        self.models = {model.id: model for model in self.situation.models}

    def let_go(self, model: Model) -> None:
        """What goes by itself: outgrown, expired, drained."""
        now, limits = self.situation.now, self.situation.limits
        if model.state == "ready" and model.outgrown is not None:
            self._go(model, reasons.outgrown(model.outgrown))
        elif model.state == "ready" and now >= model.expires_at:
            self._go(model, reasons.idle(model.keep_alive_s))
        elif model.state == "draining":
            reason = model.reason or reasons.UNWANTED
            if not model.n_leased:
                self._stop(model, reason)
            elif now >= model.since + limits.drain_s:
                self._stop(model, reasons.overdue(reason, model.n_leased, limits.drain_s))
            else:
                self._look_again(model.since + limits.drain_s)
        elif model.state == "queued" and not model.n_waiting:
            self._refuse(model, ModelLoadFailed(f"Nobody waits for {model.name} any more."))
        else:
            self._look_again(model.expires_at)

    def load(self, model: Model) -> None:
        if model.id in self.models:
            self._change(model, state="loading")
            self.effects.load(model.id)

    def admit(self, model: Model) -> bool:
        """Load a queued model, make room for it, or refuse it. False: it still waits, and so do those after it."""
        if model.id not in self.models:
            return True  # refused by now
        if model.need is None:
            return False
        memory = self.situation.memory
        if memory is not None and model.need.is_certain and model.need.weights_bytes > memory.total:
            self._refuse(model, too_large(model, memory))
            return True
        n_places, n_bytes = self._missing(model)
        others = [other for other in self._placed() if other.id != model.id]
        if not n_places and (not n_bytes or not others):  # what an estimate says of an empty machine may be wrong
            self.load(model)
            return True
        going = [other for other in others if other.state == "stopping"]
        if n_places <= len(going) and n_bytes <= sum(other.n_bytes for other in going):
            return False  # soon
        return self._make_room(model, n_places - len(going), n_bytes - sum(other.n_bytes for other in going))

    def _make_room(self, model: Model, n_places: int, n_bytes: int) -> bool:
        limits, now = self.situation.limits, self.situation.now
        idle = [other for other in self.models.values() if other.takes_place and other.is_idle]
        chosen = eviction.choose([self._candidate(one) for one in idle], n_places=n_places, n_bytes=n_bytes)
        busy = [other for other in self._placed() if other.id != model.id and other not in idle]
        if not chosen and not busy:
            chosen = tuple(one.id for one in idle)  # an empty machine is the best that can be had
        for chosen_id in chosen:
            short = f" ({size(n_bytes)} of memory short)" if n_bytes > 0 else ""
            self._stop(self.models[chosen_id], reasons.room(model.name, model.asker, because=short))
        if chosen:
            return False
        if now < model.since + limits.patience_s:
            self._look_again(model.since + limits.patience_s)
            return False
        if any(other.state in ("draining", "stopping") for other in busy):
            return False  # somebody goes already, in bounded time
        if n_places > 0:
            ready = [self._candidate(other) for other in busy if other.state == "ready"]
            least = eviction.least_busy(ready)
            if least is not None:
                because = f", which has waited for {reasons.duration(limits.patience_s)}"
                self._go(self.models[least], reasons.room(model.name, model.asker, because=because))
            return False
        if any(other.state == "loading" for other in busy):
            return False
        self._refuse(model, no_memory(model, self._free(), busy))
        return True

    def _missing(self, model: Model) -> tuple[int, int]:
        """Places and bytes that are missing for `model`."""
        n_places = max(0, len(self._placed()) + 1 - self.situation.limits.max_loaded)
        free = self._free()
        return n_places, 0 if free is None else max(0, model.n_bytes - free)

    def _free(self) -> int | None:
        """What the system has available, but no more than those that are loaded leave (pages of a mapped file count as
        available), less what is promised to loads in progress."""
        memory = self.situation.memory
        if memory is None:
            return None
        loading = sum(one.n_bytes for one in self._placed() if one.state == "loading")
        held = sum(one.n_bytes for one in self._placed() if one.state != "loading")
        return min(memory.available, memory.total - held) - loading

    def _placed(self) -> list[Model]:
        """Those that take a place: from before they are opened until they are gone."""
        return [one for one in self.models.values() if one.takes_place and one.state != "queued"]

    def _candidate(self, model: Model) -> Candidate:
        return Candidate(
            id=model.id,
            n_active=model.n_leased + model.n_waiting,
            remaining_s=model.keep_alive_s if model.n_leased else model.expires_at - self.situation.now,
            last_used_at=model.last_used_at,
            load_s=model.load_s,
            n_bytes=model.n_bytes,
        )

    def _go(self, model: Model, reason: Reason) -> None:
        """Stop it, once it has answered what it has."""
        if model.n_leased:
            self._change(model, state="draining")
            self.effects.drain(model.id, reason)
            self._look_again(self.situation.now + self.situation.limits.drain_s)
        else:
            self._stop(model, reason)

    def _stop(self, model: Model, reason: Reason) -> None:
        self._change(model, state="stopping")
        self.effects.stop(model.id, reason)

    def _refuse(self, model: Model, error: AiAdminError) -> None:
        del self.models[model.id]
        self.effects.refuse(model.id, error)

    def _change(self, model: Model, *, state: State) -> None:
        self.models[model.id] = replace(model, state=state)

    def _look_again(self, at: float) -> None:
        self.next_at = min(self.next_at, at)


def too_large(model: Model, memory: Memory) -> ModelLoadFailed:
    """The weights alone exceed what there is: no use in trying."""
    assert model.need is not None
    return ModelLoadFailed(
        f"{model.name} does not fit: its weights alone take {size(model.need.weights_bytes)}, and models have "
        f"{size(memory.total)} of memory here.",
        hint=f"Choose a smaller or more quantised model: up to about {size(int(memory.total * 0.8))} fit here.",
    )


def no_memory(model: Model, free: int | None, busy: Sequence[Model]) -> Overloaded:
    """It would fit, if others were not at work."""
    need = model.need or NOTHING
    free = max(0, free or 0)
    parts = f"{size(need.weights_bytes)} of weights, {size(need.cache_bytes)} of cache"
    holders = ", ".join(f"{other.name} ({size(other.n_bytes)})" for other in busy)
    hint = "Try again when they are idle."
    if need.n_ctx and need.cache_bytes and need.weights_bytes + need.compute_bytes < free:
        fitting = (free - need.weights_bytes - need.compute_bytes) * need.n_ctx // need.cache_bytes
        hint = f"A context of {fitting} tokens would fit beside them (now {need.n_ctx}). {hint}"
    return Overloaded(
        f"{model.name} needs {size(need.n_bytes)} of memory ({parts}), {size(free)} are free, and these are at work: "
        f"{holders}.",
        hint=hint,
        retry_after_s=30,
    )
