"""Guesses are decoded where the time they take is less than the time they save."""

from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.speculation.pays import LEAST_GAIN, MOST_SAVED, SHARE_SAVED, RowTimes, Savings, share_rows

CHANCES = st.lists(st.floats(0, 1), max_size=12).map(lambda found: sorted(found, reverse=True))


def compute_bound(n):
    """Each row costs as much as the first."""
    return 0.01 * (1 + n)


def memory_bound(n):
    """Rows cost next to nothing beside reading the weights."""
    return 0.01 * (1 + 0.02 * n)


def powers(share):
    return [share**n for n in range(1, 33)]


def test_sure_guesses_are_worth_cheap_rows():
    assert share_rows([powers(0.99)], n_tokens=1, most=16, seconds=memory_bound) == [16]


def test_no_guess_is_worth_a_row_that_costs_as_much_as_a_step():
    assert share_rows([powers(0.99)], n_tokens=1, most=16, seconds=compute_bound) == [0]


def test_unsure_guesses_are_short():
    (unsure,) = share_rows([powers(0.5)], n_tokens=1, most=16, seconds=memory_bound)
    (sure,) = share_rows([powers(0.9)], n_tokens=1, most=16, seconds=memory_bound)

    assert 0 < unsure < sure


def test_rows_go_to_the_sequence_whose_guesses_are_surest():
    sure, unsure, none = share_rows([powers(0.95), powers(0.3), ()], n_tokens=3, most=6, seconds=memory_bound)

    assert sure > unsure
    assert none == 0
    assert sure + unsure <= 6


def test_eight_sequences_get_fewer_rows_each_than_one_does():
    """Where what a row costs grows with their number, as on a processor."""

    def seconds(of):
        return lambda n: 0.004 + 0.003 * (of + n) + 0.0004 * (of + n) ** 2

    (alone,) = share_rows([powers(0.95)], n_tokens=1, most=32, seconds=seconds(1))
    together = share_rows([powers(0.95)] * 8, n_tokens=8, most=32, seconds=seconds(8))

    assert max(together) < alone


def test_nothing_is_drafted_before_a_step_was_measured():
    assert share_rows([powers(0.99)], n_tokens=1, most=16, seconds=lambda _: RowTimes().of(1)) == [0]


@given(st.lists(CHANCES, min_size=1, max_size=5), st.integers(0, 20), st.floats(0.0, 0.02), st.floats(0, 20))
def test_a_lengthened_step_promises_more_tokens_a_second_and_risks_no_more_than_was_saved(chances, most, row, savings):
    n_tokens = len(chances)

    def seconds(n):
        return 0.01 + row * n

    shares = share_rows(chances, n_tokens=n_tokens, most=most, seconds=seconds, savings=savings)

    n = sum(shares)
    assert n <= most
    assert all(share <= len(own) for share, own in zip(shares, chances, strict=True))
    if n:
        expected = n_tokens + sum(sum(own[:share]) for share, own in zip(shares, chances, strict=True))
        assert expected / seconds(n) > LEAST_GAIN * n_tokens / seconds(0) * (1 - 1e-9)
        assert seconds(n) - seconds(0) <= savings * seconds(0) * (1 + 1e-9)


def on_a_processor(n_rows):
    """As measured with SmolLM2 on two cores, roughly."""
    return 0.007 if n_rows == 1 else 0.008 + 0.0034 * n_rows


def test_a_few_measurements_tell_what_any_number_of_rows_takes():
    times = RowTimes()
    for n_rows in [1, 1, 4, 9, 5, 12]:
        times.observe(n_rows, on_a_processor(n_rows))

    for n_rows in (1, 2, 8, 16, 32):
        assert times.of(n_rows) == pytest.approx(on_a_processor(n_rows), rel=0.15)


def test_before_more_rows_were_tried_each_is_taken_to_cost_half_a_step():
    times = RowTimes()
    times.observe(1, 0.01)

    assert times.of(9) == pytest.approx(0.05)


def test_one_slow_step_says_little_and_many_say_it_all():
    times = RowTimes()
    for n_rows in [1, 8] * 10:
        times.observe(n_rows, on_a_processor(n_rows))
    times.observe(1, 0.2)
    times.observe(8, 2.0)
    assert times.of(1) < 0.008
    assert times.of(8) < 1.1 * on_a_processor(8)

    for _ in range(100):
        times.observe(1, 0.02)
        times.observe(8, 0.08)
    assert times.of(1) == pytest.approx(0.02, rel=0.05)
    assert times.of(8) == pytest.approx(0.08, rel=0.05)


NOISY = st.lists(st.tuples(st.sampled_from([1, 1, 1, 4, 7, 16]), st.floats(0.95, 1.5)), min_size=100, max_size=300)


@given(NOISY)
def test_times_stay_near_what_is_measured_in_any_order(steps):
    """However noisy: no number of rows drags another along."""
    times = RowTimes()
    for n_rows in (1, 4, 16):
        times.observe(n_rows, on_a_processor(n_rows))
    for n_rows, noise in steps:
        times.observe(n_rows, on_a_processor(n_rows) * noise)

    assert all(0.6 < times.of(n_rows) / on_a_processor(n_rows) < 1.9 for n_rows in (1, 4, 8, 16))


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(1e-4, 10)), min_size=1, max_size=50), st.integers(1, 63))
def test_more_rows_never_seem_faster(steps, n_rows):
    times = RowTimes()
    for measured in steps:
        times.observe(*measured)

    assert 0 < times.of(n_rows) <= times.of(n_rows + 1) * (1 + 1e-9)


def test_rows_that_were_slow_are_tried_again_some_day():
    times = RowTimes()
    times.observe(1, 0.01)
    for _ in range(20):
        times.observe(4, 0.5)
    before = times.of(4)
    for _ in range(30_000):
        times.observe(1, 0.01)

    assert times.of(4) < 0.03 < before


def test_savings_bound_what_wrong_guesses_may_cost():
    """Every guess is wrong: what is lost is what was there at first and a share of all steps."""
    savings, lost, n_steps = Savings(), 0.0, 4000
    for _ in range(n_steps):
        (n,) = share_rows([list(repeat(1.0, 8))], n_tokens=1, most=8, seconds=memory_bound, savings=savings.n_steps)
        lost += memory_bound(n) / memory_bound(0) - 1
        savings.observe(0, n_tokens=1, seconds=memory_bound(n), plain=memory_bound(0))

    assert lost <= MOST_SAVED + SHARE_SAVED * n_steps


def test_right_guesses_save_up_for_wrong_ones_up_to_a_bound():
    savings = Savings()
    for _ in range(100):
        savings.observe(8, n_tokens=1, seconds=memory_bound(8), plain=memory_bound(0))

    assert savings.n_steps == MOST_SAVED
