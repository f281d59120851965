"""How many tokens of context a model is opened with."""

import pytest

from aiadmin_core.context import LEAST_UNASKED, MOST_UNASKED, context_length, context_notes, unasked_context
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


@pytest.mark.parametrize(
    ("trained", "token_bytes", "free_bytes", "length"),
    [
        (131_072, 1000, 10**12, MOST_UNASKED),
        (8192, 1000, 10**12, 8192),
        (131_072, 100_000, 2 * 10**9, 9984),  # 10,000 in half of it, in whole 256
        (131_072, 100_000, 10**8, LEAST_UNASKED),  # another model has to go for it
        (131_072, 100_000, -(10**9), LEAST_UNASKED),
        (2048, 100_000, 0, 2048),
        (131_072, 0, 0, MOST_UNASKED),  # a state of one size, however long the text
        (131_072, 100_000, None, MOST_UNASKED),
        (0, 100_000, 10**12, LEAST_UNASKED),
    ],
)
def test_unasked_a_context_is_what_half_of_the_free_memory_holds(trained, token_bytes, free_bytes, length):
    assert unasked_context(trained=trained, token_bytes=token_bytes, free_bytes=free_bytes) == length


def test_why_a_context_is_shorter_than_it_could_be_is_said():
    assert context_notes(EngineOptions(), trained=131_072, n_ctx=MOST_UNASKED) == [
        "context of 32768 of the 131072 tokens it was trained with: no more is opened unasked"
    ]
    assert context_notes(EngineOptions(), trained=131_072, n_ctx=9984) == [
        "context of 9984 of the 131072 tokens it was trained with: half of the free memory holds no more"
    ]
