"""Whom to unload, as a table."""

import pytest

from aiadmin_server.routing.eviction import Candidate, choose, least_busy

FOREVER = float("inf")


def candidate(id, n_active=0, remaining_s=300.0, last_used_at=0.0, **more):
    return Candidate(id=id, n_active=n_active, remaining_s=remaining_s, last_used_at=last_used_at, **more)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([], ()),
        ([candidate("only")], ("only",)),
        ([candidate("busy", n_active=1)], ()),
        ([candidate("busy", n_active=1, remaining_s=1), candidate("idle")], ("idle",)),
        ([candidate("long", remaining_s=300), candidate("short", remaining_s=10)], ("short",)),
        ([candidate("recent", last_used_at=9), candidate("old", last_used_at=3)], ("old",)),
        ([candidate("pinned", remaining_s=FOREVER), candidate("idle", last_used_at=99)], ("idle",)),
        ([candidate("pinned", remaining_s=FOREVER, load_s=0.1), candidate("idle", load_s=900)], ("idle",)),
        ([candidate("pinned", remaining_s=FOREVER)], ("pinned",)),
        (
            [candidate("old pin", remaining_s=FOREVER), candidate("pin", remaining_s=FOREVER, last_used_at=5)],
            ("old pin",),
        ),
        ([candidate("slow", remaining_s=200, load_s=60), candidate("quick", remaining_s=300, load_s=1)], ("quick",)),
    ],
)
def test_an_idle_model_goes_the_one_that_costs_least(candidates, chosen):
    assert choose(candidates) == chosen


SIZED = [
    candidate("cheap", n_bytes=100, remaining_s=10),
    candidate("dear", n_bytes=500, remaining_s=100),
    candidate("dearest", n_bytes=500, remaining_s=200),
    candidate("busy", n_bytes=10_000, n_active=1),
]


@pytest.mark.parametrize(
    ("n_places", "n_bytes", "chosen"),
    [
        (0, 100, {"cheap"}),
        (0, 101, {"dear"}),
        (0, 600, {"cheap", "dear"}),
        (2, 10, {"cheap", "dear"}),
        (0, 1100, {"cheap", "dear", "dearest"}),
        (0, 1101, set()),
        (4, 0, set()),
        (0, 0, set()),
    ],
)
def test_enough_go_and_none_that_is_not_needed(n_places, n_bytes, chosen):
    """None at all where all of them would not do: nothing is gained then."""
    assert set(choose(SIZED, n_places=n_places, n_bytes=n_bytes)) == chosen


def test_the_least_busy_goes_where_all_are_busy():
    busy = [candidate("two", n_active=2), candidate("one", n_active=1)]
    assert choose(busy) == ()
    assert least_busy(busy) == "one"
    assert least_busy([]) is None
