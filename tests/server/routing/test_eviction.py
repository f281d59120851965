"""Whom to unload, as a table."""

import pytest

from aiadmin_server.routing.eviction import Candidate, choose

FOREVER = float("inf")


def candidate(key, n_active=0, remaining_s=300.0, last_used_at=0.0):
    return Candidate(key=key, n_active=n_active, remaining_s=remaining_s, last_used_at=last_used_at)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([], None),
        ([candidate("only")], "only"),
        ([candidate("busy", n_active=1)], None),
        ([candidate("busy", n_active=1, remaining_s=1), candidate("idle")], "idle"),
        ([candidate("long", remaining_s=300), candidate("short", remaining_s=10)], "short"),
        ([candidate("recent", last_used_at=9), candidate("old", last_used_at=3)], "old"),
        ([candidate("pinned", remaining_s=FOREVER), candidate("idle", last_used_at=99)], "idle"),
        ([candidate("pinned", remaining_s=FOREVER)], "pinned"),
        ([candidate("old pin", remaining_s=FOREVER), candidate("pin", remaining_s=FOREVER, last_used_at=5)], "old pin"),
    ],
)
def test_an_idle_model_goes_the_one_that_would_go_first(candidates, chosen):
    assert choose(candidates) == chosen


def test_impatience_takes_the_least_busy():
    busy = [candidate("two", n_active=2), candidate("one", n_active=1)]
    assert choose(busy) is None
    assert choose(busy, patient=False) == "one"


def test_impatience_still_prefers_an_idle_one():
    assert choose([candidate("busy", n_active=1, remaining_s=0), candidate("idle")], patient=False) == "idle"
