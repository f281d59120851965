"""How many tokens of context a model is opened with."""

import pytest

from aiadmin_core.context import context_length, context_notes
from aiadmin_core.specs.model import EngineOptions


@pytest.mark.parametrize(
    ("asked", "trained", "scales", "length"),
    [
        (None, 8192, False, 4096),
        (None, 2048, False, 2048),
        (None, 0, False, 4096),
        (8192, 8192, False, 8192),
        (8193, 8192, False, 8192),
        (10**9, 2048, False, 2048),
        (16384, 8192, True, 16384),
        (16384, 0, False, 16384),
        (512, 8192, True, 512),
    ],
)
def test_a_context_ends_where_the_training_did_unless_positions_are_scaled(asked, trained, scales, length):
    assert context_length(EngineOptions(n_ctx=asked), trained=trained, unasked=4096, scales=scales) == length


def test_what_was_asked_for_and_not_given_is_said():
    asked = EngineOptions(n_ctx=16384)
    assert context_notes(asked, trained=8192, n_ctx=8192) == [
        "context of 8192 tokens, as it was trained with (16384 were asked for)"
    ]
    scaled = EngineOptions(n_ctx=16384, rope_scaling="yarn")
    assert context_notes(scaled, trained=8192, n_ctx=16384) == [
        "context of 16384 tokens by yarn scaling, trained with 8192"
    ]
    assert context_notes(EngineOptions(n_ctx=4096), trained=8192, n_ctx=4096) == []
    assert context_notes(EngineOptions(), trained=8192, n_ctx=8192) == []
    assert context_notes(asked, trained=0, n_ctx=16384) == []
