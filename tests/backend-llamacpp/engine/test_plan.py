"""How a step is shared out among prompts and running sequences."""

from aiadmin_llamacpp.engine.plan import FIRST_CHUNK, plan_step, prefill_limit, share_prefill


def test_prefilling_is_limited_by_time():
    """To what the machine prefills in a fraction of a second; where nobody waits for a token, in a longer one."""
    assert prefill_limit(n_batch=512, n_decoding=2, tokens_per_s=300) == 45
    assert prefill_limit(n_batch=512, n_decoding=2, tokens_per_s=10) == 8
    assert prefill_limit(n_batch=512, n_decoding=0, tokens_per_s=300) == 150
    assert prefill_limit(n_batch=512, n_decoding=0, tokens_per_s=10) == 8
    assert prefill_limit(n_batch=512, n_decoding=0, tokens_per_s=50_000) == 512
    assert prefill_limit(n_batch=512, n_decoding=0, tokens_per_s=0) == FIRST_CHUNK


def test_the_shortest_prompt_is_read_first_and_the_oldest_always_goes_on():
    assert share_prefill([8000, 20], 32) == [12, 20]
    assert share_prefill([8000, 300, 20], 32) == [8, 4, 20]
    assert share_prefill([8000, 300, 200], 32) == [8, 0, 24]
    assert share_prefill([3, 300], 32) == [3, 29]
    assert share_prefill([], 32) == []
    assert share_prefill([5], 0) == [0]


def test_plan_step_never_exceeds_the_batch(world, sequence):
    many = [sequence([1]) for _ in range(10)]

    assert sum(piece.n for piece in plan_step(many, n_batch=4, n_prefill=4)) == 4
