"""How much of a prompt fits into a step."""

import pytest

from aiadmin_core.steps import PrefillPace


@pytest.mark.parametrize(
    ("speed", "seconds", "size"),
    [(20.0, 0.25, 8), (20.0, 1.0, 16), (1000.0, 0.25, 248), (1000.0, 1.0, 512), (1e6, 0.25, 512), (0.0, 0.25, 512)],
)
def test_a_chunk_lasts_no_longer_than_it_may(speed, seconds, size):
    assert PrefillPace(speed).chunk(seconds=seconds, least=8, most=512) == size


def test_a_chunk_never_exceeds_the_batch():
    assert PrefillPace(1.0).chunk(seconds=0.25, least=8, most=4) == 4


@pytest.mark.parametrize(
    ("n_tokens", "seconds", "after"), [(512, 1.0, 306.0), (1, 1.0, 98.45), (1, 0.0, 100.0), (0, 1.0, 100.0)]
)
def test_the_measured_speed_follows_long_chunks_faster_than_short_ones(n_tokens, seconds, after):
    pace = PrefillPace(100.0)

    pace.observe(n_tokens=n_tokens, seconds=seconds)

    assert pace.tokens_per_s == pytest.approx(after, abs=0.01)


def test_the_first_measurement_is_taken_as_it_is():
    pace = PrefillPace()

    pace.observe(n_tokens=4, seconds=0.1)

    assert pace.tokens_per_s == pytest.approx(40.0)
