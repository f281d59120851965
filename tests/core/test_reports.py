"""When what happened is handed over."""

from types import SimpleNamespace

import pytest

from aiadmin_core.backend import Broken, Sampled
from aiadmin_core.errors import BadRequest
from aiadmin_core.reports import HELD_S, Reports

JOB = ("submitted_at", "admitted_at", "n_prompt", "n_cached")


@pytest.fixture
def time():
    return [100.0]


@pytest.fixture
def handed_over():
    return []


@pytest.fixture
def reports(time, handed_over):
    reports = Reports(lambda: time[0])
    reports.sink = lambda events: handed_over.append([*events])
    return reports


def token(n):
    return Sampled(request_id=1, choice=0, token=n)


def test_tokens_of_fast_steps_leave_together(reports, time, handed_over):
    for n in range(4):
        reports.sampled(token(n))
        reports.flush_before_a_token()
        time[0] += HELD_S * 0.6

    assert handed_over == [[token(0)], [token(1), token(2)]]


def test_the_beginning_of_an_answer_leaves_token_by_token(reports, time, handed_over):
    reports.prefilled(SimpleNamespace(request=SimpleNamespace(id=1), **dict.fromkeys(JOB, 0)), now=time[0])
    for n in range(3):
        reports.sampled(token(n))
        reports.flush_before_a_token()
        time[0] += HELD_S * 0.6

    assert [events[-1] for events in handed_over] == [token(0), token(1), token(2)]


def test_tokens_of_slow_steps_leave_one_by_one(reports, time, handed_over):
    for n in range(3):
        reports.sampled(token(n))
        reports.flush_before_a_token()
        time[0] += HELD_S * 1.1

    assert handed_over == [[token(0)], [token(1)], [token(2)]]


def test_whatever_else_happened_takes_them_along_at_once(reports, handed_over):
    refused = BadRequest("No.")
    reports.sampled(token(0))
    reports.flush()
    reports.sampled(token(1))
    reports.flush_before_a_token()
    assert handed_over == [[token(0)]]

    reports.broken(2, refused)
    reports.flush_before_a_token()

    assert handed_over == [[token(0)], [token(1), Broken(2, refused)]]


def test_before_a_rest_nothing_is_held(reports, handed_over):
    reports.sampled(token(0))
    reports.flush()
    reports.sampled(token(1))
    reports.flush()

    assert handed_over == [[token(0)], [token(1)]]
