"""What of a request is refused before it reaches a model."""

import pytest

from aiadmin_core.backend import TokenRequest
from aiadmin_core.errors import BadRequest, ContextLengthExceeded, UnsupportedParameter
from aiadmin_core.jobs import MEDIA, Limits, make_job
from aiadmin_core.specs.prompt import MediaSegment, TokenSegment
from aiadmin_core.specs.request import Adapter
from aiadmin_core.specs.sampling import SamplingParams

LIMITS = Limits(n_ctx=100, n_vocab=50, n_parallel=4)
IMAGE = MediaSegment("image", "sha256:0", b"", 3)


def asked(*prompt, sampling=None, max_tokens=10, **fields):
    return TokenRequest(id=1, prompt=prompt, sampling=sampling or SamplingParams(), max_tokens=max_tokens, **fields)


def tokens(*ids):
    return TokenSegment(ids)


@pytest.mark.parametrize(
    ("request_", "error", "param"),
    [
        (asked(), BadRequest, "prompt"),
        (asked(tokens()), BadRequest, "prompt"),
        (asked(tokens(1, 50)), BadRequest, "prompt"),
        (asked(tokens(-1)), BadRequest, "prompt"),
        (asked(tokens(1), sampling=SamplingParams(logit_bias={50: 1.0})), BadRequest, "logit_bias"),
        (asked(tokens(1), sampling=SamplingParams(logit_bias={-1: 1.0})), BadRequest, "logit_bias"),
        (asked(tokens(*[1] * 100)), ContextLengthExceeded, "messages"),
        (asked(tokens(1), n=5), UnsupportedParameter, "n"),
        (asked(tokens(1), adapters=(Adapter(digest="sha256:0"),)), UnsupportedParameter, "adapters"),
        (asked(tokens(1), IMAGE), UnsupportedParameter, "messages"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(request_, error, param):
    with pytest.raises(error) as raised:
        make_job(request_, LIMITS)

    assert raised.value.param == param


def test_an_answer_is_cut_to_the_room_the_context_has():
    assert make_job(asked(tokens(*[1] * 95), max_tokens=10), LIMITS).max_tokens == 5
    assert make_job(asked(tokens(*[1] * 90), max_tokens=10), LIMITS).max_tokens == 10


def test_media_keep_their_places_between_the_tokens():
    limits = Limits(n_ctx=100, n_vocab=50, n_parallel=4, media=frozenset({"image"}))

    job = make_job(asked(tokens(1, 2), IMAGE, tokens(3)), limits)

    assert job.tokens.tolist() == [1, 2, MEDIA, MEDIA, MEDIA, 3]
    assert job.media == ((2, IMAGE),)


def test_a_higher_priority_sorts_before_who_came_earlier():
    first, second, urgent = (
        make_job(asked(tokens(1), priority=priority), LIMITS, arrival=arrival)
        for arrival, priority in enumerate((0, 0, 1))
    )

    assert sorted([second, urgent, first], key=lambda job: job.order) == [urgent, first, second]
