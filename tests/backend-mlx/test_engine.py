"""The engine's behaviour, on a tiny model of random weights."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from aiadmin_core.backend import Ended, Prefilled, Sampled
from aiadmin_core.errors import BadRequest, ContextLengthExceeded, UnsupportedParameter
from aiadmin_core.refuse import unsupported
from aiadmin_core.specs.prompt import MediaSegment, TokenSegment
from aiadmin_core.specs.request import Adapter, GenerateRequest, TextInput
from aiadmin_core.specs.sampling import SamplingParams

PROMPTS = ["The quick brown fox", "Once upon a time there was", "12 + 30 =", "Zürich 🙂 and other places in the north"]


class Allow:
    """A matcher that allows the same tokens at every step and records what was committed."""

    def __init__(self, tokens, n_vocab=49152):
        self.words = np.zeros((n_vocab + 31) // 32, np.uint32)
        for token in tokens:
            self.words[token // 32] |= np.uint32(1 << (token % 32))
        self.committed = []

    def mask(self):
        return self.words.view(np.int32)

    def commit(self, token):
        self.committed.append(token)


class Free:
    """A matcher that allows every token."""

    def mask(self):
        return None

    def commit(self, token):
        pass


def test_events_come_in_order_and_the_numbers_add_up(tiny):
    answer = tiny.run("Order, please: one two", max_tokens=5, cache_salt="order")

    assert [type(event) for event in answer.events] == [Prefilled, *[Sampled] * 5, Ended]
    assert answer.prefilled.n_prompt == len(answer.request.prompt[0].tokens)
    assert (answer.events[-1].reason, answer.events[-1].n_tokens, answer.events[-1].token) == ("length", 5, None)
    assert answer.prefilled.queue_s >= 0 < answer.prefilled.prefill_s


def test_an_end_token_ends_a_choice_and_is_not_reported(tiny):
    third = tiny.run("An end", max_tokens=3).tokens[2]

    answer = tiny.run("An end", max_tokens=9, end_tokens=frozenset({third}))

    assert len(answer.tokens) == 2
    (ended,) = answer.all(Ended)
    assert (ended.reason, ended.n_tokens, ended.token) == ("stop", 3, third)


def test_a_prompt_of_one_token_is_answered_alone_and_in_company(tiny):
    alone = tiny.run([17], max_tokens=6).tokens

    both = [tiny.submit(prompt, max_tokens=6) for prompt in ([17], PROMPTS[1], [17])]

    assert both[0].wait().tokens == both[2].wait().tokens == alone
    both[1].wait()


def test_sequences_are_decoded_together_and_equal_those_decoded_alone(open_player):
    player = open_player()
    alone = [player.run(prompt, max_tokens=40).tokens for prompt in PROMPTS]

    together = [player.submit(prompt, max_tokens=40, cache_salt="together") for prompt in PROMPTS]

    assert [answer.wait().tokens for answer in together] == alone
    assert player.engine.stats().max_batch >= 3


def test_a_request_that_joins_and_leaves_does_not_disturb_the_others(open_player):
    player = open_player()
    alone = player.run(PROMPTS[0], max_tokens=60).tokens
    running = player.submit(PROMPTS[0], max_tokens=60, cache_salt="again")
    running.first_token.wait()

    short = [player.run(PROMPTS[i % 4], max_tokens=1 + i, cache_salt=f"{i}") for i in range(6)]

    assert not running.over.is_set() or len(alone) == 60
    assert running.wait().tokens == alone
    assert all(len(answer.tokens) == 1 + i for i, answer in enumerate(short))


def test_a_running_stream_goes_on_while_a_long_prompt_is_prefilled(open_player):
    player = open_player(n_batch=16)
    running = player.submit(PROMPTS[0], max_tokens=400)
    running.first_token.wait()

    joined = player.submit([5] * 320, max_tokens=1).wait()

    order = [event for events in player.steps for event in events]
    seen = [event for event in order[: order.index(joined.prefilled)] if event.request_id == running.request.id]
    assert len(seen) >= 15  # 319 tokens in chunks of 16, a decode step between any two
    player.engine.cancel(running.request.id)


def test_the_second_turn_prefills_only_what_is_new(tiny):
    first = tiny.run(PROMPTS[1], max_tokens=6, cache_salt="turns")
    history = [*first.request.prompt[0].tokens, *first.tokens]

    second = tiny.run([*history, 50, 51, 52], max_tokens=4, cache_salt="turns")

    assert second.prefilled.n_cached == len(history) - 1  # the last token sampled was never decoded
    fresh = tiny.run([*history, 50, 51, 52], max_tokens=4, cache_salt="nothing kept")
    assert fresh.prefilled.n_cached == 0
    assert second.tokens == fresh.tokens


def test_a_shared_beginning_is_reused_while_its_first_reader_still_runs(open_player):
    player = open_player()
    system = list(range(100, 160))
    first = player.submit([*system, 1, 2, 3], max_tokens=200)
    first.first_token.wait()

    second = player.run([*system, 7, 8, 9], max_tokens=2)

    assert second.prefilled.n_cached == len(system)
    player.engine.cancel(first.request.id)


def test_another_salt_shares_no_prefix(tiny):
    tiny.run(PROMPTS[2], max_tokens=2, cache_salt="mine")

    assert tiny.run(PROMPTS[2], max_tokens=2, cache_salt="yours").prefilled.n_cached == 0


def test_a_byte_budget_of_nothing_keeps_nothing(open_player):
    player = open_player(extra={"prompt_cache_bytes": 0})
    first = player.run(PROMPTS[0], max_tokens=4)

    again = player.run(PROMPTS[0], max_tokens=4)

    assert again.prefilled.n_cached == 0
    assert again.tokens == first.tokens


def test_a_seed_gives_the_same_tokens_alone_and_inside_a_batch(tiny):
    alone = tiny.run(PROMPTS[0], max_tokens=12, temperature=1.0, seed=11).tokens

    company = [tiny.submit(prompt, max_tokens=20, temperature=1.3) for prompt in PROMPTS[1:]]
    inside = tiny.run(PROMPTS[0], max_tokens=12, temperature=1.0, seed=11).tokens

    assert inside == alone
    assert tiny.run(PROMPTS[0], max_tokens=12, temperature=1.0, seed=12).tokens != alone
    assert all(len(answer.wait().tokens) == 20 for answer in company)


@pytest.mark.parametrize("top_k", [2**31, 2**40, 2**63])
def test_a_top_k_beyond_the_vocabulary_keeps_all_and_harms_nobody(tiny, top_k):
    other = tiny.submit(PROMPTS[1], max_tokens=12)

    answer = tiny.run(PROMPTS[0], max_tokens=4, temperature=1.0, seed=3, top_k=top_k)

    assert answer.tokens == tiny.run(PROMPTS[0], max_tokens=4, temperature=1.0, seed=3).tokens
    assert len(other.wait().tokens) == 12


def test_without_a_seed_answers_differ(tiny):
    texts = {tuple(tiny.run(PROMPTS[0], max_tokens=10, temperature=1.5).tokens) for _ in range(3)}

    assert len(texts) == 3


def test_choices_share_one_prefill_and_each_has_the_next_seed(open_player):
    player = open_player()
    alone = [player.run(PROMPTS[1], max_tokens=10, temperature=1.0, seed=40 + i).tokens for i in range(3)]
    before = player.engine.stats().n_prompt_tokens

    answer = player.run(PROMPTS[1], max_tokens=10, temperature=1.0, seed=40, n=3)

    assert [answer.choices[choice].tokens for choice in range(3)] == alone
    assert len(answer.all(Prefilled)) == 1
    assert player.engine.stats().n_prompt_tokens - before == answer.prefilled.n_prompt


def test_one_choice_can_be_cancelled_while_the_others_go_on(open_player):
    player = open_player()
    player.on_event = lambda event: (
        player.engine.cancel(event.request_id, 1) if isinstance(event, Sampled) and event.choice == 1 else None
    )

    answer = player.submit(PROMPTS[0], max_tokens=12, n=3, temperature=1.0, seed=1)

    while len(answer.all(Ended)) < 2:
        assert not answer.over.wait(0.01)
    assert set(answer.reasons) == {0, 2}
    assert len(answer.choices[1].tokens) == 1
    assert len(answer.choices[0].tokens) == len(answer.choices[2].tokens) == 12


def test_cancelling_frees_the_place_within_one_step(open_player):
    player = open_player()
    cancelled = threading.Event()

    def cancel_at_the_third(event):
        if isinstance(event, Sampled) and len(player.asked[event.request_id].tokens) == 2:
            player.engine.cancel(event.request_id)
            cancelled.set()

    player.on_event = cancel_at_the_third
    answer = player.submit(PROMPTS[0], max_tokens=1000)
    cancelled.wait(30)
    player.on_event = lambda event: None
    player.run(PROMPTS[1], max_tokens=3)

    assert len(answer.tokens) == 3
    stats = player.engine.stats()
    assert (stats.n_running, stats.n_waiting, stats.n_cancelled) == (0, 0, 1)


def test_a_prompt_can_be_cancelled_while_it_is_prefilled_or_waits(open_player):
    player = open_player(n_batch=8, n_parallel=1)
    running = player.submit(PROMPTS[0], max_tokens=1500)
    running.first_token.wait()
    waiting = player.submit([3] * 400, max_tokens=2)
    player.engine.cancel(waiting.request.id)
    player.engine.cancel(running.request.id)

    assert len(player.run(PROMPTS[1], max_tokens=3).tokens) == 3
    assert waiting.events == []


def test_cancelling_what_nobody_knows_is_ignored(tiny):
    tiny.engine.cancel(987654)
    tiny.engine.cancel(987654, 2)

    assert len(tiny.run(PROMPTS[0], max_tokens=2).tokens) == 2


def test_a_higher_priority_is_admitted_first(open_player):
    player = open_player(n_parallel=1)
    running = player.submit(PROMPTS[0], max_tokens=60)
    running.first_token.wait()

    low, high = (player.submit(PROMPTS[1], max_tokens=2, priority=priority) for priority in (0, 5))

    low.wait()
    order = [event.request_id for events in player.steps for event in events if isinstance(event, Ended)]
    assert order == [running.request.id, high.request.id, low.request.id]


def with_cells(player, n_cells):
    """`player`, its engine with room for so many tokens in all."""
    model = player.engine._thread.stepper.model
    model.plan = replace(model.plan, n_cells=n_cells)
    return player


@pytest.fixture
def small_reserve(monkeypatch):
    """Tokens a sequence is expected to grow by: so few that short answers outgrow them."""
    monkeypatch.setattr("aiadmin_mlx.engine.sequence.RESERVE", 16)
    return 16


@pytest.mark.parametrize("kept_bytes", [0, 40_000_000])
def test_sequences_that_outgrow_the_memory_take_turns_and_say_the_same(open_player, kept_bytes, small_reserve):
    roomy = open_player()
    settings = {"max_tokens": small_reserve + 24, "temperature": 1.0}
    alone = [roomy.run(prompt, seed=i, **settings).tokens for i, prompt in enumerate(PROMPTS)]
    choices = roomy.run(PROMPTS[0], seed=0, n=2, **settings)
    player = with_cells(open_player(extra={"prompt_cache_bytes": kept_bytes}), 60)

    answers = [player.submit(prompt, seed=i, **settings) for i, prompt in enumerate(PROMPTS)]

    assert [answer.wait().tokens for answer in answers] == alone
    assert all(len(answer.all(Prefilled)) == 1 for answer in answers)
    assert player.engine.stats().max_batch == 2
    both = player.run(PROMPTS[0], seed=0, n=2, **settings)
    assert [both.choices[0].tokens, both.choices[1].tokens] == [choices.choices[0].tokens, choices.choices[1].tokens]


def test_a_sequence_that_was_put_back_can_be_cancelled(open_player, small_reserve):
    player = with_cells(open_player(), 60)
    first, second = (player.submit(prompt, max_tokens=small_reserve + 24) for prompt in PROMPTS[:2])
    first.wait()
    player.engine.cancel(second.request.id)

    assert len(player.run(PROMPTS[2], max_tokens=3).tokens) == 3
    stats = player.engine.stats()
    assert (stats.n_running, stats.n_waiting) == (0, 0)


def test_a_mask_is_honoured_in_company_and_every_token_is_committed(tiny):
    allowed = {1000, 2000, 3000}
    matcher = Allow(allowed)
    company = [tiny.submit(prompt, max_tokens=15) for prompt in PROMPTS[1:]]

    answer = tiny.run(PROMPTS[0], max_tokens=10, temperature=1.0, seed=5, matchers=(matcher,))

    assert set(answer.tokens) <= allowed
    assert matcher.committed == answer.tokens[:-1]  # nothing follows the last one
    alone = [tiny.run(prompt, max_tokens=15).tokens for prompt in PROMPTS[1:]]
    assert [other.wait().tokens for other in company] == alone


def test_a_mask_that_allows_all_changes_nothing(tiny):
    free = tiny.run(PROMPTS[3], max_tokens=10).tokens

    assert tiny.run(PROMPTS[3], max_tokens=10, matchers=(Free(),)).tokens == free


@pytest.mark.parametrize("when", ["mask", "commit"])
def test_a_matcher_that_fails_breaks_its_own_request_only(tiny, when):
    matcher = Allow({1000, 2000})

    def fail(*_):
        raise BadRequest("too complex")

    setattr(matcher, when, fail)
    other = tiny.submit(PROMPTS[0], max_tokens=12)

    broken = tiny.run(PROMPTS[1], max_tokens=12, matchers=(matcher,))

    assert isinstance(broken.error, BadRequest)
    assert len(other.wait().tokens) == 12
    assert tiny.engine.stats().n_running == 0


def test_logprobs_are_of_the_distribution_before_masks_penalties_and_temperature(tiny):
    plain = tiny.run(PROMPTS[0], max_tokens=1, logprobs=3).all(Sampled)[0]

    bent = tiny.run(
        PROMPTS[0],
        max_tokens=1,
        logprobs=3,
        temperature=2.0,
        seed=1,
        logit_bias={plain.token: -50.0},
        matchers=(Allow({7}),),
    ).all(Sampled)[0]

    assert len(plain.top) == 3
    assert plain.top[0][0] == plain.token
    assert plain.top[0][1] == pytest.approx(plain.logprob)
    assert [value for _, value in plain.top] == sorted((value for _, value in plain.top), reverse=True)
    assert bent.token == 7
    assert bent.logprob < plain.logprob
    assert dict(bent.top) == pytest.approx(dict(plain.top))


def test_logprobs_are_each_requests_own(tiny):
    none, zero, many = (
        tiny.submit(PROMPTS[i], max_tokens=4, logprobs=logprobs) for i, logprobs in enumerate((None, 0, 5))
    )

    assert {len(event.top) for event in many.wait().all(Sampled)} == {5}
    assert {len(event.top) for event in zero.wait().all(Sampled)} == {0}
    assert all(event.logprob < 0 for event in zero.all(Sampled))
    assert {(event.logprob, event.top) for event in none.wait().all(Sampled)} == {(0.0, ())}


def test_logit_bias_and_penalties_bind(tiny):
    favourite = 4321
    biased = tiny.run(PROMPTS[0], max_tokens=6, logit_bias={favourite: 100.0})
    counted = tiny.run(
        PROMPTS[0], max_tokens=20, logit_bias={favourite: 100.0, 999: 95.0}, frequency_penalty=2.0, presence_penalty=1.0
    )

    assert biased.tokens == [favourite] * 6
    assert set(counted.tokens) == {favourite, 999}  # each falls behind the other as it is used


def test_a_repeat_penalty_looks_at_the_prompt_too(tiny):
    prompt = tiny.engine.tokenizer.encode(PROMPTS[0], special=False)
    first = tiny.run(prompt, max_tokens=1).tokens[0]

    prompt_with_it = [first, *prompt]
    again = tiny.run(prompt_with_it, max_tokens=1, logit_bias={first: 30.0}).tokens[0]

    assert again == first
    assert tiny.run(prompt_with_it, max_tokens=1, logit_bias={first: 30.0}, repeat_penalty=50.0).tokens[0] != first
    window = tiny.run(
        prompt_with_it, max_tokens=1, logit_bias={first: 30.0}, repeat_penalty=50.0, repeat_last_n=len(prompt)
    )
    assert window.tokens[0] == first  # just outside the window


def test_the_counters_tell_what_happened(open_player):
    player = open_player()
    player.run(PROMPTS[0], max_tokens=5)
    player.run(PROMPTS[0], max_tokens=5)

    stats = player.engine.stats()

    n_prompt = len(player.engine.tokenizer.encode(PROMPTS[0], special=False))
    assert (stats.n_steps, stats.n_sequences_decoded, stats.n_completion_tokens, stats.max_batch) == (10, 10, 10, 1)
    assert (stats.n_prompt_tokens, stats.n_cached_tokens) == (2 * n_prompt, n_prompt - 1)
    assert 0 < stats.kv_used < stats.kv_total
    assert stats.memory_bytes > 10_000_000


@pytest.mark.parametrize(
    ("settings", "error", "param"),
    [
        ({"segments": ()}, BadRequest, "prompt"),
        ({"segments": (MediaSegment("image", "sha256:0", b"", 4),)}, UnsupportedParameter, "messages"),
        ({"logit_bias": {49152: 1.0}}, BadRequest, "logit_bias"),
        ({"logit_bias": {-1: 1.0}}, BadRequest, "logit_bias"),
        ({"segments": (TokenSegment((5,) * 5000),)}, ContextLengthExceeded, "messages"),
        ({"adapters": (Adapter(digest="sha256:0"),)}, UnsupportedParameter, "adapters"),
        ({"n": 99}, UnsupportedParameter, "n"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(tiny, settings, error, param):
    answer = tiny.run(PROMPTS[0], **settings)

    assert type(answer.error) is error
    assert answer.error.param == param


def test_token_ids_outside_the_vocabulary_never_reach_the_model(tiny):
    assert isinstance(tiny.run([1, 2, 10**6]).error, BadRequest)
    assert isinstance(tiny.run([-1]).error, BadRequest)


def test_a_request_that_nobody_can_read_harms_no_other(tiny):
    other = tiny.submit(PROMPTS[0], max_tokens=20)

    assert isinstance(tiny.run(PROMPTS[1], matchers=()).error, IndexError)

    assert len(other.wait().tokens) == 20


@pytest.mark.parametrize(
    "asked", [{"typical_p": 0.9}, {"mirostat": 2}, {"dry_multiplier": 0.8}, {"dry_sequence_breakers": ()}]
)
def test_what_mlx_has_no_sampler_for_is_refused_by_name(tiny, asked):
    request = GenerateRequest(id=1, input=TextInput(text="x"), sampling=SamplingParams(**asked))

    assert unsupported(request, tiny.engine.capabilities).param in asked
