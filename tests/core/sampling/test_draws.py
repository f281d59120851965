"""A draw depends on its seed and its place, and on nothing else."""

import numpy as np

from aiadmin_core.sampling.draws import Draws, seed_of


def test_any_place_is_reached_from_anywhere():
    in_order = [Draws(5).at(n).tolist() for n in range(200)]
    back_and_forth = Draws(5)

    assert [back_and_forth.at(n).tolist() for n in (150, 3, 64, 63, 0, 150)] == [
        in_order[n] for n in (150, 3, 64, 63, 0, 150)
    ]
    assert len({tuple(numbers) for numbers in in_order}) == 200


def test_numbers_are_uniform_and_differ_between_seeds():
    numbers = np.array([Draws(seed).at(n) for seed in range(40) for n in range(64)])

    counts, _ = np.histogram(numbers, bins=16, range=(0, 1))
    expected = numbers.size / 16
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi-square, 15 degrees of freedom, 1 in 1,000
    assert len(np.unique(numbers)) == numbers.size


def test_without_a_seed_one_is_drawn():
    assert seed_of(None, 0) != seed_of(None, 0)
    assert seed_of(2**63 - 1, 5) == seed_of(-(2**63), 4)  # it goes round
