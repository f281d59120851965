"""Sets of adapters take turns."""

from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.specs.request import Adapter
from aiadmin_llamacpp.engine.turns import Turns, state_of

NONE, FRENCH, LAW = (), (Adapter(digest="french"),), (Adapter(digest="law", scale=0.5),)


def test_a_state_is_what_a_context_is_set_to():
    assert state_of([]) == ()
    assert state_of([Adapter(digest="b"), Adapter(digest="a"), Adapter(digest="c", scale=0)]) == (
        Adapter(digest="a"),
        Adapter(digest="b"),
    )
    assert state_of([Adapter(digest="a"), Adapter(digest="a", scale=0)]) == ()


def test_a_turn_lasts_some_steps_while_others_wait_and_goes_round():
    turns = Turns(n_steps=3)
    wanting = [NONE, FRENCH, NONE, LAW]
    assert [turns.choose(wanting) for _ in range(10)] == [NONE] * 3 + [FRENCH] * 3 + [LAW] * 3 + [NONE]


def test_who_is_alone_goes_on_and_a_newcomer_has_a_turn_at_once_then():
    turns = Turns(n_steps=3)
    assert [turns.choose([LAW]) for _ in range(50)] == [LAW] * 50
    assert turns.choose([LAW, FRENCH]) == FRENCH


def test_a_turn_ends_with_its_last_sequence():
    turns = Turns(n_steps=3)
    assert turns.choose([NONE, LAW]) == NONE
    assert turns.choose([LAW]) == LAW


@given(st.lists(st.lists(st.sampled_from([NONE, FRENCH, LAW]), min_size=1), min_size=1), st.integers(1, 5))
def test_who_keeps_wanting_is_never_left_waiting_for_more_than_a_round(steps, n_steps):
    turns = Turns(n_steps=n_steps)
    waited = dict.fromkeys([NONE, FRENCH, LAW], 0)
    for states in steps:
        chosen = turns.choose(states)
        assert chosen in states
        for state in waited:
            waited[state] = waited[state] + 1 if state in states and state != chosen else 0
            assert waited[state] <= 3 * n_steps + 3
