"""What fits and what does not."""

import pytest

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions
from aiadmin_mlx.memory import available_bytes, check_weights, estimate, plan, resident_bytes

GB = 10**9


def test_weights_that_fit_pass_and_others_are_refused_with_both_numbers():
    check_weights("m", weights_bytes=5 * GB, limit_bytes=5 * GB)
    with pytest.raises(ModelLoadFailed, match=r"m does not fit: its weights take 6\.00 GB, 5\.00 GB of memory"):
        check_weights("m", weights_bytes=6 * GB, limit_bytes=5 * GB)


def divide(**changes):
    settings = {"free_bytes": 10 * GB, "bytes_per_token": 10_000, "n_ctx": 8192, "n_parallel": 8}
    return plan("m", **{**settings, "prompt_cache_bytes": None, **changes})


def test_with_room_for_all_every_sequence_gets_a_whole_context():
    divided = divide()

    assert (divided.n_ctx, divided.n_cells, divided.prompt_cache_bytes) == (8192, 8 * 8192, 2_500_000_000)


def test_with_less_room_sequences_share_it():
    divided = divide(free_bytes=GB // 2)

    assert divided.n_ctx == 8192
    assert divided.n_cells == (int(GB / 2 * 0.8) - GB // 8) // 10_000


def test_with_little_room_the_context_is_cut():
    divided = divide(free_bytes=20_000_000, prompt_cache_bytes=0)

    assert divided.n_ctx == divided.n_cells == 1600


def test_with_no_room_for_a_short_context_the_model_is_refused():
    with pytest.raises(ModelLoadFailed, match="256 tokens of context take"):
        divide(free_bytes=1_000_000)


def test_a_model_whose_state_does_not_grow_is_not_limited():
    assert divide(bytes_per_token=0, free_bytes=1000).n_ctx == 8192


def test_kept_prefixes_take_what_the_administrator_says():
    assert divide(prompt_cache_bytes=123).prompt_cache_bytes == 123
    assert divide(free_bytes=100 * GB).prompt_cache_bytes == 4 << 30


def test_metals_recommendation_bounds_the_unified_memory():
    assert available_bytes({"max_recommended_working_set_size": 1000}) == 1000
    assert available_bytes({}) > 1000


def test_this_process_has_some_memory():
    assert resident_bytes() > 1_000_000


LLAMA = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}


@pytest.mark.parametrize(
    ("changes", "n_ctx", "expected"),
    [
        ({}, 1000, 1000 * 30 * 3 * 64 * 4),
        ({"head_dim": 128}, 1000, 1000 * 30 * 3 * 128 * 4),
        ({"max_position_embeddings": 2048}, None, 2048 * 30 * 3 * 64 * 4),
        ({"max_position_embeddings": 131072}, None, 8192 * 30 * 3 * 64 * 4),
        ({"num_hidden_layers": "many"}, 1000, 0),
    ],
)
def test_what_a_model_will_take_is_told_by_its_config(changes, n_ctx, expected):
    found = estimate(LLAMA | changes, EngineOptions(n_ctx=n_ctx), weights_bytes=GB, separate=False)
    assert (found.weights_bytes, found.cache_bytes, found.is_certain) == (GB, expected, True)


def test_a_device_with_memory_of_its_own_takes_little_of_the_machines():
    assert estimate(LLAMA, EngineOptions(), weights_bytes=GB, separate=True).weights_bytes == 0
