"""Who gets which tokens, with a fake cache and no model."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiadmin_core.cache.parking import Parking
from aiadmin_core.sampling.logprobs import Likelihood
from aiadmin_llamacpp.engine.plan import MOST_SCORED
from aiadmin_llamacpp.engine.scheduler import ROOM
from aiadmin_llamacpp.engine.speculation import Speculator


def sizes(step):
    return [(piece.sequence.job.request.id, piece.n) for piece in step.pieces]


def test_running_sequences_go_first_and_prompts_fill_what_is_left(world, sequence):
    """A long prompt is prefilled in chunks while the others get a token each step."""
    world = world(n_batch=32)
    world.scheduler.add(sequence([1, 2, 3], max_tokens=50))
    world.step()
    world.scheduler.add(sequence(range(100), max_tokens=50))

    assert sizes(world.step()) == [(1, 1), (2, 31)]
    assert sizes(world.step()) == [(1, 1), (2, 31)]


def test_a_lone_prompt_takes_the_whole_batch(world, sequence):
    world = world(n_batch=32)
    world.scheduler.add(sequence(range(100)))

    assert [sizes(world.step()) for _ in range(4)] == [[(1, 32)], [(1, 32)], [(1, 32)], [(1, 4)]]


def test_a_short_prompt_does_not_wait_behind_a_long_one(world, sequence):
    world = world(n_batch=64, n_cells=10_000)
    world.scheduler.add(sequence(range(8000), max_tokens=1))
    world.step()
    world.scheduler.add(sequence(range(9000, 9020), max_tokens=1))

    world.step()

    assert world.finished == [(2, 0)]


def test_a_long_prompt_is_read_while_short_ones_keep_coming(world, sequence):
    world = world(n_batch=64, n_cells=2000, n_parallel=8)
    world.scheduler.add(sequence(range(800), max_tokens=1))
    n_steps = 0
    while (1, 0) not in world.finished:
        world.scheduler.add(sequence(range(1000 * (n_steps + 1), 1000 * (n_steps + 1) + 64), max_tokens=1))
        world.step()
        n_steps += 1

    assert n_steps <= 4 * 800 / 64 + 2


def test_who_waits_for_a_prefix_holds_up_nobody_else(world, sequence):
    """Two clients with one long system prompt, and a third with another short one."""
    world = world(n_batch=16, n_cells=4000)
    system = list(range(600))
    world.scheduler.add(sequence([*system, 1000], max_tokens=1))
    world.scheduler.add(sequence([*system, 1001], max_tokens=1))
    world.scheduler.add(sequence([2000, 2001, 2002], max_tokens=1))

    world.step()
    assert world.finished == [(3, 0)]

    while world.scheduler.has_work:
        world.step()
    assert world.finished == [(3, 0), (1, 0), (2, 0)]


def test_a_request_of_many_choices_starves_nobody(world, sequence):
    world = world(n_cells=16 * (ROOM + 8), n_parallel=16, n_sequences=32)
    world.scheduler.add(sequence([1, 2, 3], n=12, max_tokens=500))
    world.step()
    world.scheduler.add(sequence([4, 5], max_tokens=2))
    world.step()
    world.step()

    assert world.finished == [(2, 0)]


def test_a_second_turn_prefills_only_what_is_new(world, sequence):
    """The cache still holds turn one."""
    world = world()
    world.scheduler.add(sequence([1, 2, 3], max_tokens=2))
    world.step(pick=lambda _: 4)
    world.step()
    second = sequence([1, 2, 3, 4, 7, 8])
    world.scheduler.add(second)

    assert sizes(world.step()) == [(2, 2)]
    assert second.job.n_cached == 4


def test_a_prompt_that_shares_a_long_beginning_waits_until_it_is_prefilled(world, sequence):
    """Two clients with one system prompt cost one prefill of it."""
    world = world(n_batch=64)
    system = list(range(60))
    world.scheduler.add(sequence([*system, 100, 101], max_tokens=9))
    world.scheduler.add(sequence([*system, 200], max_tokens=9))

    assert sizes(world.step()) == [(1, 62)]
    assert sizes(world.step()) == [(1, 1), (2, 1)]


def test_steps_of_a_seeded_request_are_filled_up_where_the_model_needs_it(world, sequence):
    """Rows, and rows with logits, to a multiple of four; the rows it fills up with fit into the batch as well."""
    world = world(n_batch=32, n_cells=1024, block=4)
    world.scheduler.add(sequence(range(60), seed=1, max_tokens=2))

    steps = [world.step() for _ in range(4)]

    assert [sizes(step) for step in steps] == [[(1, 26)], [(1, 26)], [(1, 8)], [(1, 1)]]
    assert [step.filler for step in steps] == [(2, 0), (2, 0), (4, 3), (3, 3)]


def test_steps_without_a_seeded_request_are_as_short_as_they_can_be(world, sequence):
    world = world(n_batch=32, n_cells=1024, block=4)
    world.scheduler.add(sequence(range(33), max_tokens=2))

    assert [world.step().filler.n for _ in range(3)] == [0, 0, 0]


def test_the_prompts_of_greedy_requests_are_read_in_filled_steps_however_much_is_cached(world, sequence):
    """So that the same one gives the same again when nobody else runs, at no cost for each token of its answer."""
    world = world(n_batch=64, n_cells=1024, block=4)
    fillers = []
    for _ in range(2):
        again = sequence(range(33), temperature=0, max_tokens=3)
        world.scheduler.add(again)
        while world.scheduler.has_work:
            step = world.step()
            fillers.append((sizes(step)[0][1], step.filler))

    assert fillers == [(33, (3, 3)), (1, (0, 0)), (1, (0, 0)), (1, (3, 3)), (1, (0, 0)), (1, (0, 0))]
    assert again.job.n_cached == 32


def test_prefixes_of_filled_steps_and_of_others_are_not_mixed(world, sequence):
    """Their last bits differ."""
    world = world(n_batch=64, n_cells=1024, block=4)
    first, second, third = (sequence(range(33), seed=seed, max_tokens=1) for seed in (1, None, 2))
    for one in (first, second, third):
        world.scheduler.add(one)
        world.step()

    assert (second.job.n_cached, third.job.n_cached) == (0, 32)


@pytest.mark.parametrize("how", [{"temperature": 0}, {"seed": 1}])
@pytest.mark.parametrize("n_prompt", [250, 253, 255])
def test_what_nearly_fills_the_context_is_read_and_answered_where_no_filler_fits_beside_it(
    world, sequence, how, n_prompt
):
    world = world(n_batch=32, n_cells=256, block=8)
    world.add(sequence(range(n_prompt), max_tokens=256 - n_prompt, **how))
    others = [sequence(range(900, 930), max_tokens=2) for _ in range(2)]
    for other in others:
        world.add(other)

    while world.scheduler.has_work:
        world.step()

    assert sorted(world.finished) == [(1, 0), (2, 0), (3, 0)]
    assert world.n_full == 0


def test_every_request_is_one_to_reproduce_where_the_model_is_opened_as_exact(world, sequence):
    world = world(n_batch=64, n_cells=1024, block=4, always_exact=True)
    world.scheduler.add(sequence(range(33), max_tokens=2))

    assert world.step().filler == (3, 3)


def test_higher_priority_is_admitted_first_then_who_came_first(world, sequence):
    world = world(n_parallel=1)
    for priority in (0, 5, 5):
        world.scheduler.add(sequence([priority, 1], priority=priority, max_tokens=1))

    order = [sizes(world.step())[0][0] for _ in range(3)]

    assert order == [2, 3, 1]


def test_choices_share_one_prefill_and_then_run_by_themselves(world, sequence):
    world = world()
    world.scheduler.add(sequence([1, 2, 3, 4], n=3, max_tokens=3))

    assert sizes(world.step()) == [(1, 4)]
    assert world.kv.n_used == 4
    assert sizes(world.step()) == [(1, 1)] * 3
    world.step()
    assert sorted(world.finished) == [(1, 0), (1, 1), (1, 2)]


def test_a_request_with_too_many_choices_for_now_waits(world, sequence):
    world = world(n_parallel=4)
    world.scheduler.add(sequence([1, 2], n=3, max_tokens=3))
    world.scheduler.add(sequence([3, 4], n=2, max_tokens=3))
    world.step()

    assert world.scheduler.n_running == 3
    assert len(world.scheduler.waiting) == 1


def test_when_cells_run_out_the_youngest_waits_and_nobody_fails(world, sequence):
    """It keeps its tokens and goes on where it was."""
    world = world(n_cells=2 * (ROOM + 6), n_parallel=4)
    world.scheduler.add(sequence([1, 2], max_tokens=ROOM + 36))
    world.scheduler.add(sequence([3, 4], max_tokens=ROOM + 36))
    waited = False
    for _ in range(400):
        if not world.scheduler.has_work:
            break
        world.step()
        waited = waited or any(waiting.choices[0].n_sampled for waiting in world.scheduler.waiting)

    assert waited
    assert world.finished == [(1, 0), (2, 0)]
    assert world.n_full == 0


def test_a_cancelled_request_frees_its_place_in_mid_prefill(world, sequence):
    world = world(n_batch=8)
    world.scheduler.add(sequence(range(100)))
    world.step()

    ended = world.scheduler.cancel(1)

    assert [choice.index for choice in ended] == [0]
    assert not world.scheduler.has_work
    assert world.kv.cells.n_pinned == 0


def test_cancelling_the_first_choice_in_mid_prefill_leaves_the_others(world, sequence):
    world = world(n_batch=2)
    world.scheduler.add(sequence([1, 2, 3, 4], n=3, max_tokens=2))
    world.step()
    world.scheduler.cancel(1, 0)
    while world.scheduler.has_work:
        world.step()

    assert sorted(world.finished) == [(1, 1), (1, 2)]


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_everybody_finishes_in_any_traffic(fake_memory, world, counting, seed):
    """Prompts that overlap, choices, cancels, hardly enough cells: all end, and all cells come free."""
    dice = random.Random(seed)
    parking = dice.choice([None, Parking(run=dice.randint(1, 16), max_bytes=dice.choice([300, 2000, 10**6]))])
    n_sequences = dice.randint(4, 9)
    speculator = dice.choice([None, Speculator(everyone=True, share=whatever(dice))])
    sizes = {"n_cells": 96, "n_batch": 16, "n_parallel": 4, "n_sequences": n_sequences}
    memory = fake_memory(keeps_order=dice.choice([True, False]))
    world = world(memory, parking=parking, speculator=speculator, block=dice.choice([1, 1, 4]), **sizes)
    sequence, expected = counting(), set()
    for _ in range(300):
        if sequence.n < 12 and dice.random() < 0.3:
            prompt = [dice.randint(0, 1) for _ in range(dice.randint(1, 60))]
            n = dice.choice([1, 1, 1, 2, 4])
            new = sequence(
                prompt, n=n, max_tokens=min(dice.randint(1, 40), 96 - len(prompt)), priority=dice.randint(0, 1)
            )
            expected |= {(new.job.request.id, index) for index in range(n)}
            world.add(new)
        if dice.random() < 0.03 and sequence.n:
            victim = dice.randint(1, sequence.n)
            expected -= {(victim, choice.index) for choice in world.scheduler.cancel(victim)}
        world.step(pick=lambda _: dice.randint(0, 1))
        assert world.kv.n_used == world.memory.n_cells() <= 96
    for _ in range(3000):
        if not world.scheduler.has_work:
            break
        world.step(pick=lambda _: dice.randint(0, 1))

    assert set(world.finished) == expected
    assert world.n_full == 0
    world.kv.evict_all()
    assert world.kv.n_used == 0


def whatever(dice):
    """Shares out rows without a thought for what they cost."""

    def share(chances, *, most, **_):
        shares = []
        for own in chances:
            shares.append(min(len([*own]), dice.randint(0, 5), max(0, most - sum(shares))))
        return shares

    return share


def most(chances, *, most, **_):
    return [min(len([*own]), most) for own in chances]


def test_guessed_tokens_are_verified_in_one_step(world, sequence):
    """What repeats the prompt comes several tokens a step; what does not leaves nothing behind."""
    world = world(speculator=Speculator(everyone=True, share=most))
    answer = [1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 9]
    world.add(sequence([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], max_tokens=11))

    steps = []
    while not world.finished:
        steps.append(world.step(pick=lambda sequence: answer[sequence.choices[0].n_sampled]))

    assert [[piece.kind for piece in step.pieces] for step in steps] == [
        ["prefill"],
        ["decode"],
        ["decode"],
        ["draft"],
        ["decode"],
        ["decode"],
    ]
    assert steps[3].pieces[0].n == 1 + 7
    assert world.n_accepted == 5
    assert world.kv.n_used == world.memory.n_cells() == 20


def test_no_more_is_guessed_than_may_still_come(world, sequence):
    world = world(speculator=Speculator(everyone=True, share=most))
    world.add(sequence([*range(30), 1, 2], max_tokens=8))

    steps = []
    while not world.finished:
        steps.append(world.step(pick=lambda sequence: 3 + sequence.choices[0].n_sampled))

    assert [(piece.kind, piece.n) for step in steps for piece in step.pieces] == [("prefill", 32), ("draft", 7)]


def test_a_step_that_was_not_decoded_takes_its_guesses_back(world, sequence):
    world = world(speculator=Speculator(everyone=True, share=most))
    one = sequence([*range(30), 1, 2], max_tokens=50)
    world.add(one)
    world.step(pick=lambda _: 3)
    before = one.tokens.view().tolist()

    step = world.scheduler.next_step(now=1.0)
    assert one.n_drafted
    world.scheduler.abandon(step)

    assert one.tokens.view().tolist() == before
    assert (one.n_missing, one.n_drafted) == (1, 0)


def test_nothing_is_guessed_beside_prompts_or_for_the_sake_of_cached_prefixes(world, sequence):
    world = world(n_cells=64, speculator=Speculator(everyone=True, share=most))
    world.scheduler.add(sequence(range(100, 120), max_tokens=1))
    world.step()
    world.add(sequence([*range(30), 1, 2], max_tokens=8))
    world.step(pick=lambda _: 3)
    world.add(sequence(range(50, 58), max_tokens=2))

    assert [piece.kind for piece in world.step(pick=lambda _: 4).pieces] == ["decode", "prefill"]
    n_cached = world.kv.n_used - world.kv.cells.n_pinned
    world.step(pick=lambda _: 5)
    assert world.kv.n_used - world.kv.cells.n_pinned >= n_cached


def test_only_who_has_filled_steps_guesses_where_rows_depend_on_their_number(world, sequence):
    world = world(block=4, speculator=Speculator(everyone=False, share=most))
    drawn, seeded = sequence([1, 2], max_tokens=20), sequence([1, 2], max_tokens=20, seed=1)

    assert world.scheduler.drafters(drawn.job) == [None]
    assert world.scheduler.drafters(seeded.job) != [None]


def test_prompts_to_be_scored_give_all_their_rows_a_few_a_step(world, sequence):
    world = world(n_batch=256, n_cells=512)
    for n in range(2):
        world.scheduler.add(sequence(range(100 * n, 100 * n + 100), score=True))

    rows = scored(world)

    assert [sum(n for other, n in rows if other == one) for one in (1, 2)] == [99, 99]


@pytest.mark.parametrize("at_once", [True, False])
def test_prompts_that_begin_alike_are_scored_once_as_far_as_they_do(world, sequence, at_once):
    """The four answers of a question: what they have in common gives its rows once, whoever else comes by."""
    world = world(n_batch=256, n_cells=1024, n_parallel=4)
    prompts = [(*range(100), 200 + n, 300 + n) for n in range(4)]
    other = sequence(range(500, 600), score=True)
    rows = []
    for prompt in prompts:
        world.scheduler.add(sequence(prompt, score=True))
        if not at_once:
            rows += scored(world)
    world.scheduler.add(other)
    rows += scored(world)

    counts = [sum(n for one, n in rows if one == request) for request in range(1, 6)]
    assert sorted(counts) == [2, 2, 2, 99, 101]
    assert all(not waiting.job.scores_are_due for waiting in [other])


def test_prompts_that_are_scored_for_others_share_nothing(world, sequence):
    world = world(n_batch=256, n_cells=1024, n_parallel=4)
    for salt in ("a", "b"):
        world.scheduler.add(sequence(range(100), score=True, salt=salt))

    assert sorted(n for n in totals(scored(world)).values()) == [99, 99]


def totals(rows):
    return {one: sum(n for other, n in rows if other == one) for one, _ in rows}


def scored(world):
    """(request, rows of its prompt) of every piece, until nothing is left to do."""
    rows = []
    while world.scheduler.has_work:
        step = world.step()
        for piece in step.pieces:
            job = piece.sequence.job
            found = min(len(piece.rows), job.n_to_score - job.n_scored)
            world.scheduler.scored(piece.sequence, [Likelihood(-1.0, ())] * found)
            rows.append((job.request.id, found))
        assert sum(len(piece.rows) for piece in step.pieces) <= MOST_SCORED + world.scheduler.n_running
    return rows


def test_a_prompt_that_gave_way_while_it_was_scored_goes_on_where_it_was(sequence):
    one = sequence(range(100), score=True)
    one.job.scores.extend([Likelihood(-1.0, ())] * 40)

    assert one.n_reusable == 40
    assert one.rows_of(64) == (*range(40, 64),)
    one.job.scores.extend([Likelihood(-1.0, ())] * 59)
    assert one.n_reusable == 99
    assert one.rows_of(100) == (99,)
