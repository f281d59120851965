"""The engine with the real model: what a caller of `TokenEngine` sees."""

import threading

import numpy as np
import pytest

from aiadmin_core.backend import Ended, Prefilled, Sampled
from aiadmin_core.errors import BadRequest, ContextLengthExceeded, EngineStopped
from aiadmin_core.specs.request import Adapter

pytestmark = pytest.mark.real_model


class AllowsOnly:
    """A matcher that allows a set of tokens, and writes down what was committed."""

    def __init__(self, n_vocab, tokens):
        bits = np.zeros((n_vocab + 31) // 32 * 32, np.uint8)
        bits[list(tokens)] = 1
        self.words = np.packbits(bits, bitorder="little").view(np.int32)
        self.committed = []

    def mask(self):
        return self.words

    def commit(self, token):
        self.committed.append(token)


class Breaks:
    """A matcher whose grammar fails in mid-answer."""

    def __init__(self):
        self.n = 0

    def mask(self):
        return None

    def commit(self, token):
        self.n += 1
        if self.n == 3:
            raise BadRequest("the grammar is no more")


def test_it_says_something_sensible_and_stops(driver):
    answer = driver.run(driver.chat("What is the capital of France?"), max_tokens=60)

    assert "Paris" in driver.text(answer.tokens)
    assert answer.choices[0].reason == "stop"
    assert answer.choices[0].n_tokens == len(answer.tokens) + 1
    assert answer.choices[0].end_token in driver.engine.tokenizer.end_tokens


def test_greedy_answers_are_the_same_again(driver):
    one, two = (driver.run(driver.chat("Name three colours."), max_tokens=24, cache_salt=str(n)) for n in range(2))

    assert one.tokens == two.tokens


def test_max_tokens_ends_with_length(driver):
    answer = driver.run("Once upon a time", max_tokens=5)

    assert (len(answer.tokens), answer.choices[0].reason, answer.choices[0].n_tokens) == (5, "length", 5)


def test_eight_together_say_what_each_says_alone(driver):
    prompts = [driver.chat(f"Tell me a fact about the number {n}.") for n in range(8)]
    options = {"max_tokens": 24, "seed": 1}
    alone = [driver.run(prompt, cache_salt=f"alone {n}", **options) for n, prompt in enumerate(prompts)]
    steps = driver.engine.stats().n_steps

    together = [driver.submit(prompt, cache_salt=f"together {n}", **options) for n, prompt in enumerate(prompts)]
    driver.wait(*together)

    stats = driver.engine.stats()
    assert stats.max_batch == 8
    assert stats.n_steps - steps < sum(len(one.tokens) for one in together) / 3
    assert [one.tokens for one in together] == [one.tokens for one in alone]


def test_tokens_of_different_requests_come_in_one_step(driver):
    requests = [driver.submit(f"Number {n} is", max_tokens=12, ignore_eos=True) for n in range(4)]
    driver.wait(*requests)

    ids = {request.id for request in requests}
    assert any(ids <= {event.request_id for event in step if isinstance(event, Sampled)} for step in driver.steps)


def test_a_second_turn_reports_the_cached_first(driver):
    first = driver.run(driver.chat("Remember the word gooseberry."), max_tokens=8, cache_salt="turns")
    history = [*driver.chat("Remember the word gooseberry."), *first.tokens]

    second = driver.run([*history, *driver.chat("Which word?")], max_tokens=4, cache_salt="turns")

    assert first.prefilled.n_cached == 0
    assert second.prefilled.n_cached >= len(history) - 1
    assert second.prefilled.n_prompt > second.prefilled.n_cached


def test_a_cached_prefix_changes_nothing_in_the_answer(driver):
    prompt = driver.chat("What do bees make?")
    fresh = driver.run(prompt, max_tokens=16, cache_salt="bees")
    cached = driver.run(prompt, max_tokens=16, cache_salt="bees")

    assert cached.prefilled.n_cached == len(prompt) - 1
    assert cached.tokens == fresh.tokens


def test_another_cache_salt_finds_nothing(driver):
    prompt = driver.chat("A secret between us.")
    driver.run(prompt, max_tokens=2, cache_salt="mine")

    assert driver.run(prompt, max_tokens=2, cache_salt="yours").prefilled.n_cached == 0


def test_clients_that_come_together_prefill_a_shared_beginning_once(driver):
    system = driver.encode("The rules of the house are as follows. " * 20)
    requests = [driver.submit([*system, *driver.encode(f"Rule {n}:")], max_tokens=4) for n in range(6)]
    driver.wait(*requests)

    cached = sorted(request.prefilled.n_cached for request in requests)
    assert cached[0] < 10
    assert all(n >= len(system) - 1 for n in cached[1:])


@pytest.fixture
def small(open_driver):
    """An engine with an empty cache. Attention adds up a sequence's cells in the order they lie in: in a cache full of
    holes, or from 512 cells on, where the threads share them out, the last bits of the logits depend on the others."""
    small = open_driver(n_ctx=1024, n_parallel=4)
    yield small
    small.engine.close()


def test_a_seed_gives_the_same_answer_also_among_others(small):
    prompt = small.chat("Invent a name for a ship.")
    alone = small.run(prompt, max_tokens=20, temperature=1.0, seed=7)
    others = [small.submit(small.chat(f"Count from {n}."), max_tokens=20, temperature=1.0) for n in range(3)]
    among = small.submit(prompt, max_tokens=20, temperature=1.0, seed=7)
    small.wait(among, *others)

    assert among.tokens == alone.tokens


def test_a_seed_gives_the_same_answer_with_a_cached_prefix(small):
    """A long prompt, found in the cache the second time."""
    prompt = small.chat("Here is the story so far. " + "The ship sailed on and on. " * 18)
    options = {"max_tokens": 24, "temperature": 1.0, "seed": 11, "cache_salt": "seeded"}
    fresh = small.run(prompt, **options)
    cached = small.run(prompt, **options)

    assert fresh.prefilled.n_cached == 0
    assert cached.prefilled.n_cached >= len(prompt) - 64
    assert cached.tokens == fresh.tokens


def test_without_a_seed_answers_differ(driver):
    prompt = driver.chat("Invent a name for a ship.")
    answers = {tuple(driver.run(prompt, max_tokens=20, temperature=1.5).tokens) for _ in range(3)}

    assert len(answers) > 1


def test_choice_i_continues_with_seed_plus_i(small):
    prompt = small.chat("Invent a word.")
    together = small.run(prompt, n=3, max_tokens=12, temperature=1.0, seed=40, matchers=(None,) * 3)

    for index in range(3):
        alone = small.run(prompt, max_tokens=12, temperature=1.0, seed=40 + index)
        assert together.choices[index].tokens == alone.tokens


def test_choices_prefill_their_prompt_once(driver):
    before = driver.engine.stats().n_prompt_tokens
    prompt = driver.encode("The prompt of several choices " * 10)

    answer = driver.run(prompt, n=4, max_tokens=3, temperature=1.0, cache_salt="choices")

    assert driver.engine.stats().n_prompt_tokens - before == len(prompt)
    assert sorted(answer.choices) == [0, 1, 2, 3]
    prefills = [event for step in driver.steps for event in step if isinstance(event, Prefilled)]
    assert sum(event.request_id == answer.id for event in prefills) == 1


def test_one_choice_can_be_cancelled_alone(driver):
    request = driver.submit("Going on", n=2, max_tokens=40, ignore_eos=True)
    driver.until(lambda: 1 in request.choices)
    driver.engine.cancel(request.id, 1)
    driver.until(lambda: bool(request.choices[0].reason))

    assert len(request.choices[0].tokens) == 40
    assert not request.choices[1].reason


def test_a_cancelled_request_frees_its_place_within_a_step(driver):
    request = driver.submit("For ever and", max_tokens=3000, ignore_eos=True)
    driver.until(lambda: bool(request.choices))
    driver.engine.cancel(request.id)
    after = driver.run("Next", max_tokens=1)  # its turn comes after the cancel

    assert after.done
    assert driver.engine.stats().n_running == 0
    n_tokens = len(request.tokens)
    driver.run("And next", max_tokens=3)
    assert len(request.tokens) == n_tokens


def test_a_long_prompt_is_cancelled_before_it_is_prefilled(open_driver):
    driver = open_driver(n_ctx=4096, n_parallel=2, n_batch=32)
    try:
        request = driver.submit(list(range(1000, 4500)), max_tokens=10)
        while driver.engine.stats().n_steps == 0:
            driver.engine.stats()
        driver.engine.cancel(request.id)
        driver.run("Next", max_tokens=1)

        assert request.prefilled is None
        assert driver.engine.stats().n_steps < 3500 // 32
        assert driver.engine.stats().n_cancelled == 1
    finally:
        driver.engine.close()


def test_a_step_that_works_for_nobody_any_more_is_broken_off(small):
    """One step of 512 tokens takes a second or two; it is stopped within milliseconds and counts for nothing."""
    stepper = small.engine._thread.stepper
    stepper._pace.tokens_per_s = 1e9
    decoding = threading.Event()
    decode = stepper._context.decode
    stepper._context.decode = lambda batch: (decoding.set(), decode(batch))
    before = small.engine.stats().n_steps

    request = small.submit(list(range(1000, 1510)), max_tokens=10)
    assert decoding.wait(60)
    small.engine.cancel(request.id)
    after = small.run("One, two,", max_tokens=1)

    assert small.engine.stats().n_steps - before == 1
    assert after.tokens == small.run("One, two,", max_tokens=1, cache_salt="fresh").tokens


def test_running_sequences_go_on_while_a_long_prompt_is_prefilled(driver):
    stream = driver.submit("One after the other", max_tokens=200, ignore_eos=True)
    driver.until(lambda: bool(stream.choices))
    before = len(stream.tokens)
    long = driver.submit(list(range(2000, 2500)), max_tokens=1)
    driver.until(lambda: long.done)

    assert len(stream.tokens) - before > 3
    driver.engine.cancel(stream.id)


def test_unknown_requests_are_not_missed(driver):
    driver.run("First", max_tokens=1)  # whatever other tests cancelled is done with
    before = driver.engine.stats().n_cancelled
    driver.engine.cancel(987_654)

    assert driver.run("Still there?", max_tokens=1).done
    assert driver.engine.stats().n_cancelled == before


def test_when_the_cache_is_full_everybody_still_finishes(open_driver):
    """Answers that do not fit together: some wait in the middle, and go on later."""
    driver = open_driver(n_ctx=256, n_parallel=4)
    try:
        requests = [driver.submit(text, max_tokens=100, ignore_eos=True) for text in ("Alpha", "Beta", "Gamma")]
        driver.wait(*requests)

        assert [len(request.tokens) for request in requests] == [100] * 3
        assert driver.engine.stats().kv_used <= driver.engine.stats().kv_total
    finally:
        driver.engine.close()


def test_the_context_bounds_the_answer(open_driver):
    driver = open_driver(n_ctx=256, n_parallel=1)
    try:
        answer = driver.run("Hello", max_tokens=9999, ignore_eos=True)

        assert answer.choices[0].reason == "length"
        assert len(answer.tokens) == driver.engine.facts.n_ctx - len(driver.encode("Hello"))
    finally:
        driver.engine.close()


def test_log_probabilities_are_sane(driver):
    answer = driver.run("The capital of France is", max_tokens=4, logprobs=20)

    for sampled in answer.choices[0].sampled:
        values = [value for _, value in sampled.top]
        assert len(values) == 20
        assert values == sorted(values, reverse=True)
        assert 0.1 < sum(np.exp(values)) <= 1.0001
        assert sampled.top[0] == (sampled.token, sampled.logprob)


def test_log_probabilities_are_those_before_penalties_and_temperature(driver):
    plain = driver.run("The capital of France is", max_tokens=1, logprobs=0)
    changed = driver.run(
        "The capital of France is",
        max_tokens=1,
        logprobs=5,
        temperature=2.0,
        top_k=1,
        logit_bias={plain.tokens[0]: 5.0},
    )

    assert changed.tokens == plain.tokens
    assert changed.choices[0].sampled[0].logprob == pytest.approx(plain.choices[0].sampled[0].logprob, abs=0.02)
    assert plain.choices[0].sampled[0].top == ()


def test_a_mask_is_honoured_and_every_token_committed(driver):
    digits = {driver.encode(str(n))[0] for n in range(10)}
    matcher = AllowsOnly(driver.engine.facts.n_vocab, digits)

    answer = driver.run("Tell me about", max_tokens=8, temperature=1.0, matchers=(matcher,))

    assert set(answer.tokens) <= digits
    assert matcher.committed == answer.tokens


def test_a_constraint_that_fails_ends_its_request_only(driver):
    other = driver.submit("The other", max_tokens=30, ignore_eos=True)
    broken = driver.run("Broken", max_tokens=30, ignore_eos=True, n=2, matchers=(None, Breaks()))
    driver.wait(other)

    assert isinstance(broken.error, BadRequest)
    assert len(other.tokens) == 30


def test_a_constraint_that_allows_nothing_is_a_clear_error(driver):
    matcher = AllowsOnly(driver.engine.facts.n_vocab, [])

    answer = driver.run("Nothing", max_tokens=3, matchers=(matcher,))

    assert "allows no token" in str(answer.error)


def test_logit_bias_forbids_and_forces(driver):
    plain = driver.run("The sky is", max_tokens=1).tokens[0]
    forced = driver.encode(" banana")[0]

    assert driver.run("The sky is", max_tokens=1, logit_bias={plain: -100.0}).tokens[0] != plain
    assert driver.run("The sky is", max_tokens=3, logit_bias={forced: 100.0}).tokens == [forced] * 3


def test_penalties_count_generated_tokens_only(driver):
    """A heavy presence penalty stops repetition, and does not touch the first token, whatever the prompt says."""
    prompt = "no no no no no no no no no no"
    plain = driver.run(prompt, max_tokens=6, ignore_eos=True)
    penalised = driver.run(prompt, max_tokens=6, ignore_eos=True, presence_penalty=2.0, frequency_penalty=2.0)

    assert penalised.tokens[0] == plain.tokens[0]
    assert len(set(penalised.tokens)) > len(set(plain.tokens))


def test_repeat_penalty_counts_the_prompt(driver):
    prompt = driver.encode(" red green blue" * 12)[:-1]
    plain = driver.run(prompt, max_tokens=1)
    penalised = driver.run(prompt, max_tokens=1, repeat_penalty=4.0)

    assert plain.tokens[0] in prompt
    assert penalised.tokens[0] not in prompt


@pytest.mark.parametrize(
    "asked",
    [
        {"typical_p": 0.7},
        {"xtc_probability": 1.0, "xtc_threshold": 0.05},
        {"mirostat": 1},
        {"mirostat": 2, "mirostat_tau": 3.0},
        {"top_p": 0.9, "min_p": 0.02, "top_k": 60},
    ],
    ids=str,
)
def test_every_way_to_choose_is_reproducible_and_none_is_the_plain_one(driver, asked):
    prompt = driver.chat("Invent a name for a ship.")
    settings = {"max_tokens": 16, "temperature": 1.3, "seed": 8, "ignore_eos": True}
    plain = driver.run(prompt, **settings).tokens
    one, two = (driver.run(prompt, **settings, **asked).tokens for _ in range(2))

    assert one == two != plain


def test_dry_keeps_an_answer_from_repeating_its_prompt(driver):
    prompt = driver.encode(" one two three four five six seven eight" * 4)
    plain = driver.run(prompt, max_tokens=8, ignore_eos=True)
    dry = driver.run(prompt, max_tokens=8, ignore_eos=True, dry_multiplier=2.0, dry_penalty_last_n=-1)

    assert plain.tokens == prompt[:8]
    assert dry.tokens != plain.tokens


@pytest.mark.parametrize("narrow", [{"top_p": 0.0}, {"top_k": 1}, {"min_p": 1.0}, {"temperature": 1e-40}])
def test_the_narrowest_truncation_is_greedy(driver, narrow):
    prompt = driver.chat("What colour is grass?")
    greedy = driver.run(prompt, max_tokens=10)

    assert driver.run(prompt, max_tokens=10, **{"temperature": 2.0, **narrow}).tokens == greedy.tokens


def test_a_top_k_beyond_the_vocabulary_keeps_all(small):
    prompt = small.chat("What colour is grass?")
    settings = {"max_tokens": 8, "temperature": 1.5, "seed": 4}

    assert small.run(prompt, top_k=2**32 + 1, **settings).tokens == small.run(prompt, **settings).tokens


def test_ignore_eos_goes_on_to_the_end(driver):
    answer = driver.run(driver.chat("Say hi."), max_tokens=64, ignore_eos=True)

    assert len(answer.tokens) == 64


def test_ended_comes_last_and_once(driver):
    answer = driver.run("Short", max_tokens=3, n=2, temperature=1.0)
    events = [event for step in driver.steps for event in step if event.request_id == answer.id]

    assert isinstance(events[0], Prefilled)
    assert sum(isinstance(event, Ended) for event in events) == 2
    assert isinstance(events[-1], Ended)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"prompt": []}, BadRequest),
        ({"prompt": [49_152]}, BadRequest),
        ({"prompt": [-1]}, BadRequest),
        ({"prompt": [1] * 5000}, ContextLengthExceeded),
        ({"prompt": [1], "n": 9}, BadRequest),
        ({"prompt": [1], "adapters": (Adapter(digest="sha256:0"),)}, BadRequest),
    ],
)
def test_what_cannot_be_served_is_refused(driver, options, error):
    prompt = options.pop("prompt")

    assert isinstance(driver.run(prompt, **options).error, error)


def fail_decoding(driver, monkeypatch):
    """Every step from now on fails, as on a device that is gone."""

    def decode(_batch):
        raise MemoryError("no device")

    monkeypatch.setattr(driver.engine._thread.stepper._context, "decode", decode)


def test_an_unforeseen_error_ends_the_open_requests_and_the_engine_goes_on(small, monkeypatch):
    with monkeypatch.context() as broken:
        fail_decoding(small, broken)
        assert isinstance(small.run("One, two", max_tokens=4).error, MemoryError)

    assert len(small.run("One, two", max_tokens=4, ignore_eos=True).tokens) == 4


def test_an_engine_that_fails_again_and_again_dies_and_says_so(small, monkeypatch):
    fail_decoding(small, monkeypatch)
    assert isinstance(small.run("One").error, MemoryError)

    assert "engine thread died: MemoryError: no device" in str(small.run("Two").error)

    with pytest.raises(EngineStopped, match="died"):
        small.engine.submit(None)
    with pytest.raises(EngineStopped, match="died"):
        small.engine.stats()


def test_a_request_that_nobody_can_read_harms_no_other(small):
    running = small.submit("One, two", max_tokens=30, ignore_eos=True)

    assert isinstance(small.run([2**80]).error, OverflowError)

    small.wait(running)
    assert len(running.tokens) == 30


def test_the_capabilities_name_what_is_honoured(driver):
    capabilities = driver.engine.capabilities

    assert {"temperature", "seed", "logprobs", "min_p", "logit_bias"} <= capabilities.sampling
    assert capabilities.inputs == {"text", "tokens"}
    assert (capabilities.max_choices, capabilities.max_logprobs) == (8, 20)


def test_no_more_threads_compute_than_it_has_cores(driver):
    context = driver.engine._thread.stepper._context
    driver.engine.use_threads(1)
    try:
        driver.run("Once upon a time", max_tokens=4, ignore_eos=True)
        assert context.n_threads == 1
    finally:
        driver.engine.use_threads(64)
