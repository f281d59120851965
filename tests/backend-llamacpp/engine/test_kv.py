"""The owner of sequence ids and cells, against a model of llama.cpp's cache."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiadmin_llamacpp.engine.cells import CLEAR_PRICE, COPY_PRICE
from aiadmin_llamacpp.engine.kv import KvCache, Slot, Wait
from aiadmin_llamacpp.engine.tokens import TokenBuffer

N_CELLS, N_SEQUENCES = 48, 5


@pytest.fixture
def memory(fake_memory):
    return fake_memory()


def prefill(kv, memory, tokens, *, salt="", room=0):
    """Admit and decode all of `tokens`; gives the slot and how many of them were cached."""
    slot = kv.admit(TokenBuffer(tokens), salt, room=room)
    assert isinstance(slot, Slot)
    n_cached = slot.n
    n = len(tokens) - slot.n
    assert kv.make_room(n)
    memory.decode(slot.id, tokens[slot.n :])
    kv.extend(slot, n)
    return slot, n_cached


def test_a_second_turn_finds_the_first(memory):
    """It continues the same sequence: nothing is copied, and only what is new is missing."""
    kv = KvCache(memory, n_cells=64, n_sequences=4)
    first, _ = prefill(kv, memory, [1, 2, 3, 4])
    kv.release(first)

    second, n_cached = prefill(kv, memory, [1, 2, 3, 4, 7, 8])

    assert n_cached == 4
    assert second.id == first.id
    assert kv.n_used == 6


def test_the_whole_prompt_is_never_taken_from_the_cache(memory):
    """One token is decoded again, for its logits."""
    kv = KvCache(memory, n_cells=64, n_sequences=4)
    first, _ = prefill(kv, memory, [1, 2, 3])
    kv.release(first)

    _, n_cached = prefill(kv, memory, [1, 2, 3])

    assert n_cached == 2


def test_a_shared_beginning_is_stored_once(memory):
    """Of a finished sequence and of a running one."""
    kv = KvCache(memory, n_cells=64, n_sequences=8)
    finished, _ = prefill(kv, memory, [1, 2, 3, 4, 5])
    kv.release(finished)
    running, from_finished = prefill(kv, memory, [1, 2, 3, 8])
    _, from_running = prefill(kv, memory, [1, 2, 3, 8, 9])

    assert (from_finished, from_running) == (3, 4)
    assert kv.n_used == memory.n_cells() == 7
    assert memory.tokens(running.id) == [1, 2, 3, 8]


def test_another_salt_shares_nothing(memory):
    kv = KvCache(memory, n_cells=64, n_sequences=4)
    first, _ = prefill(kv, memory, [1, 2, 3, 4], salt="one")
    kv.release(first)

    _, n_cached = prefill(kv, memory, [1, 2, 3, 4, 5], salt="other")

    assert n_cached == 0


def test_a_model_that_cannot_trim_reuses_only_whole_sequences(fake_memory):
    memory = fake_memory(can_trim=False)
    kv = KvCache(memory, n_cells=64, n_sequences=4)
    first, _ = prefill(kv, memory, [1, 2, 3, 4])
    kv.release(first)

    _, partly = prefill(kv, memory, [1, 2, 9, 9])
    _, whole = prefill(kv, memory, [1, 2, 3, 4, 5])

    assert (partly, whole) == (0, 4)


def test_a_sliding_window_that_forgot_the_beginning_is_not_reused(fake_memory):
    """The window before the match must still be there."""
    memory = fake_memory(n_swa=4)
    kv = KvCache(memory, n_cells=64, n_sequences=4)
    first, _ = prefill(kv, memory, list(range(20)))
    kv.release(first)
    memory.forgotten[first.id] = 12

    assert kv.match(TokenBuffer([*range(18), 99]), "").n == 18
    assert kv.match(TokenBuffer([*range(10), 99]), "").n == 0


def test_it_waits_for_a_long_beginning_that_is_being_prefilled(memory):
    """Rather than prefilling it a second time; with a short one it does not bother."""
    kv = KvCache(memory, n_cells=512, n_sequences=4)
    system = list(range(100))
    first = kv.admit(TokenBuffer([*system, 1]), "", room=8)
    assert kv.admit(TokenBuffer([*system, 2]), "", room=8) is Wait.PREFIX

    memory.decode(first.id, [*system, 1])
    kv.extend(first, 101)
    second = kv.admit(TokenBuffer([*system, 2]), "", room=8)

    assert second.n == 100
    assert isinstance(kv.admit(TokenBuffer([500, 501]), "", room=8), Slot)


def test_cells_promised_to_others_are_not_given_away(memory):
    kv = KvCache(memory, n_cells=100, n_sequences=8)
    prefill(kv, memory, [1, 2], room=60)

    assert kv.admit(TokenBuffer([3, 4]), "", room=60) is Wait.ROOM
    assert isinstance(kv.admit(TokenBuffer([3, 4]), "", room=30), Slot)


def test_choices_take_over_what_was_reserved_for_them(memory):
    """Twelve choices of 64 tokens want 12 x 64 cells, before they part and after."""
    kv = KvCache(memory, n_cells=12 * 64 + 70, n_sequences=16)
    source, _ = prefill(kv, memory, [1, 2], room=12 * 64)
    for _ in range(11):
        kv.fork(source, source.tokens.copy(), room=64)

    assert isinstance(kv.admit(TokenBuffer([3, 4]), "", room=64), Slot)
    assert kv.admit(TokenBuffer([5, 6]), "", room=64) is Wait.ROOM


def test_the_least_recently_used_prefix_goes_first(memory):
    kv = KvCache(memory, n_cells=10, n_sequences=8)
    old, _ = prefill(kv, memory, [1, 1, 1, 1])
    kv.release(old)
    recent, _ = prefill(kv, memory, [2, 2, 2, 2])
    kv.release(recent)

    prefill(kv, memory, [3, 3, 3, 3])

    assert kv.match(TokenBuffer([1, 1, 1, 1, 0]), "").n == 0
    assert kv.match(TokenBuffer([2, 2, 2, 2, 0]), "").n == 4


def test_new_tokens_never_lie_before_older_ones_of_their_sequence(memory):
    """A hole that another request leaves is not filled, so that attention sums in the order of the positions."""
    kv = KvCache(memory, n_cells=64, n_sequences=8)
    first, _ = prefill(kv, memory, [1, 1, 1])
    second, _ = prefill(kv, memory, [2, 2, 2])
    kv.release(first)
    kv.evict_all()
    for _ in range(5):
        second.tokens.append(3)
        assert kv.make_room(1)
        memory.decode(second.id, [3])
        kv.extend(second, 1)

    assert memory.tokens(second.id) == [2, 2, 2, 3, 3, 3, 3, 3]
    assert (kv.n_used, kv.cells.top) == (8, 11)


def test_holes_are_closed_when_the_top_is_reached(memory):
    kv = KvCache(memory, n_cells=12, n_sequences=8)
    first, _ = prefill(kv, memory, [1] * 6)
    second, _ = prefill(kv, memory, [2] * 4)
    kv.release(first)

    third, _ = prefill(kv, memory, [3] * 8)

    assert memory.n_compacted == 1
    assert memory.tokens(second.id) == [2] * 4
    assert memory.tokens(third.id) == [3] * 8
    assert kv.cells.top == 12


@pytest.mark.parametrize("n_rows", [1, 3])
def test_holes_are_closed_when_they_have_cost_as_much_as_closing_them(memory, n_rows):
    """Every row's attention passes over them."""
    kv = KvCache(memory, n_cells=1000, n_sequences=8)
    first, _ = prefill(kv, memory, [1] * 400)
    second, _ = prefill(kv, memory, [2] * 4)
    kv.release(first)
    kv.evict_all()
    n_passed_over = 0
    while not memory.n_compacted:
        assert kv.make_room(1)
        kv.stepped(n_rows)
        n_passed_over += n_rows * 400

    price = COPY_PRICE * 4 + CLEAR_PRICE * 1000
    assert price <= n_passed_over < price + 3 * n_rows * 400
    assert memory.tokens(second.id) == [2] * 4
    assert kv.cells.top == 4


def test_what_lies_on_top_is_free_again_at_once(memory):
    kv = KvCache(memory, n_cells=64, n_sequences=8)
    first, _ = prefill(kv, memory, [1, 2, 3])
    second, _ = prefill(kv, memory, [1, 2, 3, 4, 5])
    kv.release(second)
    kv.evict_all()

    assert kv.cells.top == 3
    assert memory.tokens(first.id) == [1, 2, 3]


def test_where_no_order_is_kept_holes_are_filled_and_nothing_is_copied(fake_memory):
    """On a graphics processor a copy of scattered cells takes longer than computing them again."""
    memory = fake_memory(keeps_order=False)
    kv = KvCache(memory, n_cells=12, n_sequences=8, keeps_order=False)
    first, _ = prefill(kv, memory, [1] * 4)
    prefill(kv, memory, [2] * 4)
    kv.release(first)
    kv.drop(first)

    third, _ = prefill(kv, memory, [3] * 8)

    assert memory.tokens(third.id) == [3] * 8
    assert (memory.n_compacted, len(memory.cells), kv.n_used) == (0, 12, 12)


class Cache(RuleBasedStateMachine):
    """Admit, decode, fork, release and evict in any order; the books must agree with the memory."""

    memory_type = None

    def __init__(self) -> None:
        super().__init__()
        self.memory = self.memory_type()
        self.kv = KvCache(self.memory, n_cells=N_CELLS, n_sequences=N_SEQUENCES, keeps_order=self.memory.keeps_order)
        self.running = []

    @rule(tokens=st.lists(st.integers(0, 2), min_size=1, max_size=20), room=st.integers(0, 12))
    def admit(self, tokens, room):
        buffer = TokenBuffer(tokens)
        slot = self.kv.admit(buffer, "", room=room)
        if isinstance(slot, Slot):
            assert slot.n < len(tokens)
            self.running.append(slot)
        else:
            assert self.running, "an empty cache admits anything that fits"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), n=st.integers(1, 8), token=st.integers(0, 2))
    def decode(self, data, n, token):
        slot = data.draw(st.sampled_from(self.running))
        while slot.tokens.n < slot.n + n:
            slot.tokens.append(token)
        if self.kv.make_room(n):
            self.memory.decode(slot.id, slot.tokens.view(slot.n, slot.n + n))
            self.kv.extend(slot, n)
        else:
            assert self.kv.n_obtainable < n

    @precondition(lambda self: 0 < len(self.running) < N_SEQUENCES)
    @rule(data=st.data())
    def fork(self, data):
        slot = data.draw(st.sampled_from(self.running))
        self.running.append(self.kv.fork(slot, slot.tokens.copy()))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data):
        slot = data.draw(st.sampled_from(self.running))
        self.running.remove(slot)
        self.kv.release(slot)

    @rule()
    def evict_all(self):
        self.kv.evict_all()

    @invariant()
    def no_id_is_used_twice(self):
        ids = [slot.id for slot in self.kv.slots.values()]
        assert len(ids) == len(set(ids)) <= N_SEQUENCES
        assert all(self.kv.slots[slot.id] is slot for slot in self.running)

    @invariant()
    def the_budget_is_kept(self):
        assert 0 <= self.kv.n_used <= (self.kv.cells.top if self.kv.keeps_order else N_CELLS) <= N_CELLS
        assert self.kv.n_used == self.memory.n_cells()
        assert self.kv.cells.n_pinned == self.memory.n_cells([slot.id for slot in self.running])

    @invariant()
    def every_slot_holds_its_own_tokens(self):
        for slot in self.kv.slots.values():
            assert self.memory.tokens(slot.id) == slot.tokens.view(0, slot.n).tolist()

    def teardown(self):
        for slot in self.running:
            self.kv.release(slot)
        self.kv.evict_all()
        assert self.kv.n_used == 0
        assert not self.kv.keeps_order or self.kv.cells.top == 0
        assert not self.kv.slots
        assert self.memory.n_cells() == 0


@pytest.mark.parametrize(("n_swa", "keeps_order"), [(0, True), (100, True), (0, False), (100, False)])
def test_the_books_agree_with_the_cache_whatever_happens(fake_memory, n_swa, keeps_order):
    """No id is used twice, the budget is never exceeded, everything is freed."""
    from hypothesis.stateful import run_state_machine_as_test

    Cache.memory_type = staticmethod(lambda: fake_memory(n_swa=n_swa, keeps_order=keeps_order))
    run_state_machine_as_test(Cache, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
