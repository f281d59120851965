"""Whom to ask: the decisions as tables."""

import pytest

from aiadmin_openai.failures import Unavailable
from aiadmin_openai.routing import MAX_ATTEMPTS, Upstream, backoff_s, choose, next_try

NOW = 100.0


def up(name: str, **state: object) -> Upstream:
    return Upstream(url=f"http://{name}/v1", **state)  # type: ignore[arg-type]  # the tables below are the check


def failure(name: str, **details: float) -> Unavailable:
    return Unavailable(f"http://{name}/v1", "it broke", **details)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("upstreams", "chosen"),
    [
        pytest.param([], None, id="there is none"),
        pytest.param([up("a", n_active=2), up("b", n_active=1)], "b", id="the least busy"),
        pytest.param([up("a", n_started=4), up("b", n_started=3)], "b", id="among equals the one asked least often"),
        pytest.param([up("a"), up("b")], "a", id="among equals of all kinds the first"),
        pytest.param([up("a", down=True), up("b", n_active=9)], "b", id="a healthy one however busy"),
        pytest.param([up("a", rest_until=NOW + 1), up("b", n_active=9)], "b", id="not one that asked for a pause"),
        pytest.param([up("a", rest_until=NOW - 1), up("b", n_active=9)], "a", id="unless the pause is over"),
        pytest.param([up("a", down=True), up("b", rest_until=NOW + 1)], "b", id="a pause is better than a fault"),
        pytest.param([up("a", down=True, n_active=1), up("b", down=True)], "b", id="one that is down where all are"),
        pytest.param([up("a", failures=3), up("b", n_active=1)], "a", id="past failures do not count once it is up"),
    ],
)
def test_the_upstream_that_is_chosen(upstreams: list[Upstream], chosen: str | None) -> None:
    found = choose(upstreams, NOW)

    assert (found.host if found else None) == chosen


@pytest.mark.parametrize(
    ("upstreams", "failures", "expected"),
    [
        pytest.param([up("a")], [], ("a", 0), id="the first try"),
        pytest.param([up("a"), up("b")], [failure("a")], ("b", 0), id="another one after a failure"),
        pytest.param([up("a", down=True)], [failure("a")], None, id="nobody is left"),
        pytest.param(
            [up("a", rest_until=NOW + 2)], [failure("a", retry_after_s=2)], ("a", 2), id="the same one after its pause"
        ),
        pytest.param(
            [up("a", rest_until=NOW + 60)], [failure("a", retry_after_s=60)], None, id="not after a long pause"
        ),
        pytest.param(
            [up("a", rest_until=NOW + 3), up("b", rest_until=NOW + 1)],
            [failure("a", retry_after_s=3), failure("b", retry_after_s=1)],
            ("b", 1),
            id="the one that is back first",
        ),
        pytest.param(
            [up("a", rest_until=NOW + 1), up("b", n_active=5)],
            [failure("a", retry_after_s=1)],
            ("b", 0),
            id="another one rather than a pause",
        ),
        pytest.param([up(n) for n in "abcde"], [failure(n) for n in "abc"], None, id="three tries are enough"),
    ],
)
def test_the_next_try(
    upstreams: list[Upstream], failures: list[Unavailable], expected: tuple[str, float] | None
) -> None:
    step = next_try(upstreams, failures, NOW)

    assert (step and (step[0].host, step[1])) == expected
    assert MAX_ATTEMPTS == 3


def test_an_upstream_that_goes_on_failing_is_asked_less_and_less_often() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 6, 7, 50)] == [1, 2, 4, 32, 60, 60]


def test_a_check_lets_requests_through_and_only_an_answer_forgets_the_failures() -> None:
    upstream = up("a")
    upstream.failed("it broke", NOW)
    upstream.reachable()
    upstream.failed("it broke again", NOW)
    assert (upstream.down, upstream.check_at) == (True, NOW + 2)

    upstream.answered()

    assert (upstream.down, upstream.failures) == (False, 0)
