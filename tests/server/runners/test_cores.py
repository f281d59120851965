"""Cores are shared out among those who compute."""

import pytest

from aiadmin_server.runners.cores import Cores, shares


class Told:
    """What each was told, in order."""

    def __init__(self, n_cores):
        self.cores = Cores(n_cores)
        self.all = []

    def begin(self, who):
        self.cores.begin(who, lambda n: self.all.append((who, n)))

    def news(self):
        news, self.all = self.all, []
        return news


@pytest.mark.parametrize(
    ("n_cores", "n_working", "expected"),
    [(2, 1, [2]), (2, 2, [1, 1]), (2, 3, [1, 1, 1]), (4, 2, [2, 2]), (16, 1, [16]), (16, 3, [3, 3, 2]), (1, 2, [1, 1])],
)
def test_everybody_has_a_share_and_nobody_none(n_cores, n_working, expected):
    assert shares(n_cores, n_working) == expected


def test_one_alone_is_told_nothing():
    told = Told(2)
    for _ in range(3):
        told.begin("a")
        told.cores.end("a")

    assert told.news() == []


def test_two_share_and_the_one_that_goes_on_has_all_again():
    told = Told(2)
    told.begin("a")
    told.begin("b")
    assert told.news() == [("a", 1), ("b", 1)]

    told.cores.end("a")
    assert told.news() == [("b", 2)]


def test_who_begins_again_alone_has_all_again():
    told = Told(4)
    told.begin("a")
    told.begin("b")
    told.cores.end("b")
    told.cores.end("a")
    told.news()

    told.begin("b")

    assert told.news() == [("b", 4)]


def test_the_share_of_one_that_died_at_work_goes_to_the_others():
    told = Told(2)
    told.begin("a")
    told.begin("b")
    told.news()

    told.cores.forget("a")

    assert told.news() == [("b", 2)]
    told.cores.end("a")
    assert told.news() == []
