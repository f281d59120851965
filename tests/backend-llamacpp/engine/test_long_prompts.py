"""Long prompts are read faster in a context of their own, where nobody asked for an answer that can be had again."""

import pytest

from aiadmin_llamacpp.engine.long_prompts import LEAST, LONG, tiled_chunk

PROMPT = [n % 97 for n in range(LONG + 200)]


@pytest.mark.parametrize("n_prefill", [1, 100, 500, 9000])
@pytest.mark.parametrize("n_batch", [128, 512])
def test_no_step_has_too_few_rows_for_tiles_and_the_last_token_is_left(n_prefill, n_batch):
    for n_missing in range(LEAST + 1, 1300, 13):
        left = n_missing
        while left > 1:
            assert left > LEAST
            n = tiled_chunk(left, n_prefill, n_batch)
            assert LEAST <= n <= n_batch
            left -= n
        assert left == 1


@pytest.fixture
def reader(world):
    """Reads long prompts apart."""
    return world(n_cells=4096, n_batch=256, reads_apart=True)


def ran(world, sequence):
    """Whether each step of it was apart, until it is over."""
    world.scheduler.add(sequence)
    steps = []
    while sequence in [*world.scheduler.waiting, *world.scheduler.running]:
        steps.append(world.step().apart)
    return steps


def test_a_long_prompt_is_read_apart_but_for_its_last_token(reader, sequence):
    assert ran(reader, sequence(PROMPT, max_tokens=2)) == [True] * 5 + [False] * 2


@pytest.mark.parametrize("asked", [{"seed": 1}, {"temperature": 0.0}, {"score": True}])
def test_one_whose_answer_is_to_be_had_again_is_not(reader, sequence, asked):
    assert not any(ran(reader, sequence(PROMPT, max_tokens=2, **asked)))


def test_nor_a_short_one(reader, sequence):
    assert not any(ran(reader, sequence(PROMPT[:LONG], max_tokens=2)))


def test_nor_while_somebody_waits_for_a_next_token(reader, sequence):
    reader.scheduler.add(sequence([1, 2, 3], max_tokens=50))
    reader.step()
    assert not any(ran(reader, sequence(PROMPT, max_tokens=1)))


def test_a_short_prompt_that_comes_meanwhile_goes_first(reader, sequence):
    reader.scheduler.add(sequence(PROMPT, max_tokens=1))
    assert reader.step().apart
    reader.scheduler.add(sequence([1, 2, 3], max_tokens=1))
    assert not reader.step().apart
    assert len(reader.finished) == 1
    assert reader.step().apart


def test_what_was_read_apart_serves_only_those_who_may_read_apart(reader, sequence):
    ran(reader, sequence(PROMPT, max_tokens=1))
    greedy, again = sequence(PROMPT, max_tokens=1, temperature=0.0), sequence(PROMPT, max_tokens=1)

    assert not any(ran(reader, greedy))
    assert greedy.job.n_cached == 0
    assert ran(reader, again) == [False]
    assert again.job.n_cached == len(PROMPT) - 1


def test_what_was_read_as_usual_serves_both(reader, sequence):
    ran(reader, sequence(PROMPT, max_tokens=1, temperature=0.0))
    longer = sequence([*PROMPT, *range(100)], max_tokens=1)

    assert ran(reader, longer) == [True, False]
    assert longer.job.n_cached == len(PROMPT)


def test_without_such_a_context_nothing_is(world, sequence):
    assert not any(ran(world(n_cells=4096, n_batch=256), sequence(PROMPT, max_tokens=1)))


# On the real library.


@pytest.fixture(scope="module")
def tiny(open_driver, tiny_gguf):
    driver = open_driver(path=tiny_gguf, n_ctx=2048, n_parallel=4, kv_cache_type="bf16/f16")
    yield driver
    driver.engine.close()


NEARLY_GREEDY = {"temperature": 1e-4, "logprobs": 0}
"""The most likely token, and free to be another one the next time."""


@pytest.fixture
def handed_over(monkeypatch):
    """How many tokens came from a context of their own."""
    from aiadmin_llamacpp.engine.long_prompts import LongPrompts

    counts = []
    original = LongPrompts.hand_over
    monkeypatch.setattr(
        LongPrompts, "hand_over", lambda self, n, **more: (counts.append(n), original(self, n, **more))[1]
    )
    return counts


def tokens_of(driver, n):
    words = " ".join(f"{number} ships pass the light on day {number * 7}." for number in range(n // 6))
    return tuple(driver.engine.tokenizer.encode(words, special=False)[:n])


@pytest.mark.real_model
def test_the_answer_is_that_of_reading_as_usual_up_to_rounding(tiny, handed_over):
    prompt = tokens_of(tiny, LONG + 100)
    usual = tiny.run(prompt, max_tokens=1, temperature=0, logprobs=0)
    assert handed_over == []

    apart = tiny.run(prompt, max_tokens=1, cache_salt="apart", **NEARLY_GREEDY)

    assert sum(handed_over) == len(prompt) - 1
    assert apart.choices[0].sampled[0].logprob == pytest.approx(usual.choices[0].sampled[0].logprob, abs=0.05)


@pytest.mark.real_model
def test_one_that_goes_on_brings_along_what_was_there(tiny, handed_over):
    prompt = tokens_of(tiny, LONG + 300)
    usual = tiny.run(prompt, max_tokens=1, cache_salt="usual", temperature=0, logprobs=0)
    tiny.run(prompt[:LONG], max_tokens=1, cache_salt="on", **NEARLY_GREEDY)
    assert handed_over == []

    on = tiny.run(prompt, max_tokens=1, cache_salt="on", **NEARLY_GREEDY)

    assert on.prefilled.n_cached == LONG
    assert sum(handed_over) == 299
    assert on.choices[0].sampled[0].logprob == pytest.approx(usual.choices[0].sampled[0].logprob, abs=0.05)


@pytest.mark.real_model
def test_without_memory_for_it_a_prompt_is_read_as_usual(tiny, handed_over, monkeypatch):
    from aiadmin_core.memory import Memory
    from aiadmin_llamacpp.engine import opening

    prompt = tokens_of(tiny, LONG + 100)
    with monkeypatch.context() as patched:
        patched.setattr(opening, "machine_memory", lambda: Memory(total=2**30, available=2**10))
        assert tiny.run(prompt, max_tokens=1, cache_salt="none", **NEARLY_GREEDY).tokens
    assert handed_over == []

    assert tiny.run(prompt, max_tokens=1, cache_salt="some", **NEARLY_GREEDY).tokens
    assert sum(handed_over) == len(prompt) - 1


@pytest.mark.real_model
def test_a_real_model_says_the_same(driver, handed_over):
    prompt = "one two three four five six seven eight. " * 115
    usual = driver.run(prompt, max_tokens=4, temperature=0)

    apart = driver.run(prompt, max_tokens=4, cache_salt="apart", **NEARLY_GREEDY)

    assert sum(handed_over) == apart.prefilled.n_prompt - 1 > LONG
    assert apart.tokens == usual.tokens
