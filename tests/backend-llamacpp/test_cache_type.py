"""Which types keys and values have, by processor and by head."""

import pytest

from aiadmin_llamacpp.cache_type import CACHE_TYPES, fitting, unasked


@pytest.mark.parametrize(
    ("machine", "best"), [("x86_64", "bf16/f16"), ("AMD64", "bf16/f16"), ("aarch64", "q8_0"), ("arm64", "q8_0")]
)
def test_the_best_type_depends_on_the_processor(machine, best):
    assert unasked(machine)[0] == best


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_unasked_types_compute_attention_in_one_way(machine):
    assert all(CACHE_TYPES[name].has_one_path for name in unasked(machine))


def test_f16_and_f32_have_other_ways():
    assert [name for name, kind in CACHE_TYPES.items() if not kind.has_one_path] == ["f16", "f32"]


def test_blocks_have_to_fit_the_heads():
    assert fitting(("q8_0", "bf16"), key_length=64, value_length=64) == "q8_0"
    assert fitting(("q8_0", "bf16"), key_length=80, value_length=80) == "bf16"
    assert fitting(("bf16/f16", "q8_0"), key_length=80, value_length=80) == "bf16/f16"
