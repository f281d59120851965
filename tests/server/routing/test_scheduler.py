"""What the scheduler decides: as tables, as properties of single decisions, and as a world that is played through."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.memory import Memory
from aiadmin_server.routing.scheduler import NEVER, Limits, Model, Situation, schedule

LIMITS = Limits(max_loaded=2, patience_s=30, drain_s=300)


@dataclass
class Recorded:
    """What a decision makes happen."""

    calls: list[tuple] = field(default_factory=list)
    next_at: float = NEVER

    def load(self, id):
        self.calls.append(("load", id))

    def drain(self, id, reason):
        self.calls.append(("drain", id, reason))

    def stop(self, id, reason):
        self.calls.append(("stop", id, reason))

    def refuse(self, id, error):
        self.calls.append(("refuse", id, error))

    def look_again(self, at):
        self.next_at = at

    @property
    def brief(self):
        return [call[:2] for call in self.calls]


def decide(*models, memory=None, limits=LIMITS, now=100.0):
    effects = Recorded()
    schedule(Situation(models=models, memory=memory, limits=limits, now=now), effects)
    return effects


def model(id, state="ready", *, weights=0, certain=False, **fields):
    if state == "queued":
        fields = {"n_waiting": 1, "since": 100.0} | fields
    need = fields.pop("need", MemoryEstimate(weights_bytes=weights, is_certain=certain))
    return Model(id=id, name=f"m{id}", state=state, need=need, last_used_at=fields.pop("last_used_at", 90.0), **fields)


def busy(id, **fields):
    return model(id, n_leased=fields.pop("n_leased", 1), **fields)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        # places
        ([], []),
        ([model(1, "queued")], [("load", 1)]),
        ([model(1), model(2, "queued")], [("load", 2)]),
        ([busy(1), model(2), model(3, "queued")], [("stop", 2)]),
        ([busy(1), busy(2), model(3, "queued")], []),
        ([busy(1), busy(2, n_leased=3), model(3, "queued", since=70)], [("drain", 1)]),
        ([busy(1), model(2, "draining", n_leased=1, since=90), model(3, "queued", since=0)], []),
        ([busy(1), model(2, "stopping"), model(3, "queued", since=0)], []),
        ([model(1, "loading"), model(2, "loading"), model(3, "queued", since=0)], []),
        ([busy(1), busy(2), model(3, "queued"), model(4, "queued")], []),
        ([model(1), model(2), model(3, "queued"), model(4, "queued")], [("stop", 1)]),
        # what needs no process
        ([busy(1), busy(2), model(3, "queued", takes_place=False)], [("load", 3)]),
        ([busy(1), busy(2), model(3, takes_place=False), model(4, "queued")], []),
        # what is not known yet holds up those after it, and nobody is loaded for nobody
        ([model(1, "queued", need=None), model(2, "queued")], []),
        ([model(1, "queued", n_waiting=0), model(2, "queued")], [("refuse", 1), ("load", 2)]),
        # what goes by itself
        ([model(1, keep_alive_s=10)], [("stop", 1)]),
        ([model(1, keep_alive_s=11)], []),
        ([busy(1, keep_alive_s=0)], []),
        ([model(1, keep_alive_s=0, n_waiting=1)], []),
        ([model(1, outgrown="it has grown")], [("stop", 1)]),
        ([busy(1, outgrown="it has grown")], [("drain", 1)]),
        ([model(1, "draining", since=99)], [("stop", 1)]),
        ([model(1, "draining", n_leased=1, since=-199)], []),
        ([model(1, "draining", n_leased=1, since=-200)], [("stop", 1)]),
    ],
)
def test_places(models, expected):
    assert decide(*models).brief == expected


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([model(1, weights=600), model(2, "queued", weights=400)], [("load", 2)]),
        ([model(1, weights=600), model(2, "queued", weights=401)], [("stop", 1)]),
        ([busy(1, weights=600), model(2, "queued", weights=401)], []),
        ([busy(1, weights=600), model(2, "queued", weights=401, since=70)], [("refuse", 2)]),
        ([busy(1, weights=600), model(2, weights=300), model(3, "queued", weights=500)], []),
        ([model(1, "loading", weights=600), model(2, "queued", weights=401, since=0)], []),
        ([model(1, "stopping", weights=600), model(2, "queued", weights=1000, since=0)], []),
        ([model(1, "queued", weights=5000)], [("load", 1)]),
        ([model(1, weights=10), model(2, "queued", weights=5000)], [("stop", 1)]),
        ([model(1, "queued", weights=1001, certain=True)], [("refuse", 1)]),
        ([model(1, "queued", weights=1000, certain=True)], [("load", 1)]),
        (
            [model(1, weights=100, keep_alive_s=1e9), model(2, weights=900), model(3, "queued", weights=100)],
            [("stop", 1)],
        ),
        ([busy(1, weights=900), model(2, "queued", weights=900, takes_place=False)], [("load", 2)]),
    ],
)
def test_memory(models, expected):
    memory = Memory(total=1000, available=1000)
    assert decide(*models, memory=memory, limits=replace(LIMITS, max_loaded=9)).brief == expected


def test_less_is_free_where_other_programs_have_taken_it():
    waiting = model(1, weights=100), model(2, "queued", weights=300)
    assert decide(*waiting, memory=Memory(total=1000, available=299)).brief == [("stop", 1)]


def test_who_is_refused_for_want_of_memory_learns_what_would_fit():
    need = MemoryEstimate(weights_bytes=100, cache_bytes=800, n_ctx=8000)
    effects = decide(
        busy(1, weights=500), model(2, "queued", need=need, since=0), memory=Memory(total=1000, available=1000)
    )
    ((_, _, error),) = effects.calls
    assert "m2 needs 900 B of memory (100 B of weights, 800 B of cache), 500 B are free" in error.message
    assert "A context of 4000 tokens would fit beside them (now 8000)." in error.hint


@pytest.mark.parametrize(
    ("models", "at"),
    [
        ([model(1, keep_alive_s=60), model(2, keep_alive_s=30)], 120),
        ([busy(1), busy(2), model(3, "queued", since=95)], 125),
        ([model(1, "draining", n_leased=1, since=50)], 350),
        ([busy(1, keep_alive_s=5), model(2)], NEVER),
    ],
)
def test_it_looks_again_when_something_becomes_due(models, at):
    assert decide(*models).next_at == at


states = st.sampled_from(["queued", "loading", "ready", "draining", "stopping"])


@st.composite
def situations(draw):
    models = [
        Model(
            id=number,
            name=f"m{number}",
            state=draw(states),
            takes_place=draw(st.booleans()) or draw(st.booleans()),
            need=draw(st.one_of(st.none(), estimates)),
            n_leased=draw(st.integers(0, 2)),
            n_waiting=draw(st.integers(0, 2)),
            since=draw(st.floats(0, 1000)),
            last_used_at=draw(st.floats(0, 1000)),
            keep_alive_s=draw(st.sampled_from([0.0, 100.0, 2000.0, NEVER])),
            outgrown=draw(st.sampled_from([None, None, None, "it has grown"])),
        )
        for number in range(draw(st.integers(0, 7)))
    ]
    total = draw(st.integers(0, 300))
    memory = draw(st.one_of(st.none(), st.just(Memory(total, draw(st.integers(0, total))))))
    limits = Limits(max_loaded=draw(st.integers(1, 4)))
    return Situation(models=models, memory=memory, limits=limits, now=1000.0)


estimates = st.builds(
    MemoryEstimate, weights_bytes=st.integers(0, 200), cache_bytes=st.integers(0, 100), is_certain=st.booleans()
)


@given(situations())
def test_no_decision_breaks_what_must_never_break(situation):
    effects = Recorded()
    schedule(situation, effects)
    before = {one.id: one for one in situation.models}
    limits, now = situation.limits, situation.now
    placed = sum(one.takes_place and one.state != "queued" for one in situation.models)
    loads = 0
    assert len({call[1] for call in effects.calls}) == len(effects.calls), "one decision for each"
    for what, number, *why in effects.calls:
        one = before[number]
        if what == "stop" and one.n_leased:
            assert one.state == "draining"
            assert now >= one.since + limits.drain_s
        if what in ("stop", "drain") and why[0].why == "room":
            assert one.state == "ready"
            assert one.takes_place, "what needs no process makes no room"
        if what == "stop" and why[0].why == "room":
            assert not one.n_leased
            assert not one.n_waiting
        if what == "drain" and why[0].why == "room":
            full = placed >= limits.max_loaded
            waited = any(x.state == "queued" and now >= x.since + limits.patience_s for x in situation.models)
            assert full and waited  # noqa: PT018 - memory alone drains nobody
        if what == "load":
            assert one.state == "queued"
            loads += one.takes_place
            assert not one.takes_place or placed + loads <= limits.max_loaded
        if what == "refuse":
            assert one.state == "queued"
    # those with a place are loaded in their order: nobody is overtaken by one that came later
    loaded = [call[1] for call in effects.calls if call[0] == "load" and before[call[1]].takes_place]
    gone = {call[1] for call in effects.calls if call[0] == "refuse"}
    waiting = [x.id for x in situation.models if x.state == "queued" and x.takes_place and x.id not in gone]
    assert loaded == waiting[: len(loaded)]


@given(situations())
def test_what_is_promised_fits_or_has_the_machine_to_itself(situation):
    effects = Recorded()
    schedule(situation, effects)
    if situation.memory is None:
        return
    loads = [call[1] for call in effects.calls if call[0] == "load"]
    held = [x for x in situation.models if x.takes_place and (x.state != "queued" or x.id in loads)]
    new = [x for x in held if x.id in loads]
    if new and len(held) > 1:
        assert sum(x.n_bytes for x in held) <= max(situation.memory.total, sum(x.n_bytes for x in held if x not in new))
        promised = sum(x.n_bytes for x in held if x in new or x.state == "loading")
        assert not any(x.n_bytes for x in new) or promised <= situation.memory.available


class World(Recorded):
    """Carries decisions out, and lets time pass: loads take 5 s, ends 2 s, requests as long as they were asked to."""

    def __init__(self, limits, memory):
        super().__init__()
        self.limits, self.memory, self.now = limits, memory, 0.0
        self.models: dict[int, Model] = {}
        self.due: list[tuple[float, int, str]] = []
        self.ended_at: dict[int, float] = {}
        """When each stopped waiting: loading, or refused."""
        self.request_s: dict[int, float] = {}

    def ask(self, id, *, weights, request_s):
        self.models[id] = model(id, "queued", weights=weights, since=self.now, keep_alive_s=60, last_used_at=self.now)
        self.request_s[id] = request_s

    def load(self, id):
        self.ended_at[id] = self.now
        self._become(id, "loading", 5.0, "loaded")

    def drain(self, id, reason):
        self._become(id, "draining", None, "")

    def stop(self, id, reason):
        assert not self.models[id].n_leased or self.models[id].state == "draining"
        self._become(id, "stopping", 2.0, "gone")

    def refuse(self, id, error):
        del self.models[id]
        self.ended_at[id] = self.now

    def _become(self, id, state, delay_s, then, **changes):
        self.models[id] = replace(self.models[id], state=state, since=self.now, **changes)
        if delay_s is not None:
            self.due.append((self.now + delay_s, id, then))

    def step(self):
        """Decide, then go on to whatever is next. False where nothing is."""
        schedule(
            Situation(models=tuple(self.models.values()), memory=self.memory, limits=self.limits, now=self.now), self
        )
        placed = [one for one in self.models.values() if one.state != "queued"]
        assert len(placed) <= self.limits.max_loaded
        at = min([self.next_at, *(due[0] for due in self.due)])
        if at == NEVER:
            return False
        self.now = max(self.now, at)
        happening = [due for due in self.due if due[0] <= self.now]
        self.due = [due for due in self.due if due[0] > self.now]
        for _, one, what in happening:
            if one not in self.models:
                continue
            if what == "loaded":
                self._become(one, "ready", self.request_s[one], "answered", n_leased=1, n_waiting=0)
            elif what == "answered" and self.models[one].state in ("ready", "draining"):
                self.models[one] = replace(self.models[one], n_leased=0, last_used_at=self.now)
            elif what == "gone":
                del self.models[one]
        return True


@given(
    asked=st.lists(st.tuples(st.integers(0, 150), st.sampled_from([1.0, 20.0, 1e9])), max_size=8),
    max_loaded=st.integers(1, 3),
)
def test_every_wait_ends(asked, max_loaded):
    """Whoever asks is served or refused in bounded time, also beside requests that never end."""
    world = World(Limits(max_loaded=max_loaded), Memory(total=200, available=200))
    for number, (weights, request_s) in enumerate(asked):
        world.ask(number, weights=weights, request_s=request_s)
    for _ in range(500):
        if not world.step():
            break
    bound_s = world.limits.patience_s + world.limits.drain_s + 10
    for number in range(len(asked)):
        assert world.ended_at[number] <= (number + 1) * bound_s
