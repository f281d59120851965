"""Guessed tokens change how fast an answer comes, and nothing else: the real model with them and without."""

import re

import pytest

from aiadmin_core.constraint.compiler import ConstraintCompiler
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.constraint import JsonSchema, Regex

pytestmark = pytest.mark.real_model

TEXT = "The lighthouse stands on the northern point of the island, where two currents meet. It was built in 1874."
PERSON = JsonSchema(
    schema={
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 1, "maximum": 99},
            "lighthouse": {"enum": ["north", "south"]},
        },
        "required": ["name", "age", "lighthouse"],
        "additionalProperties": False,
    }
)
WAYS = {
    "greedy": {},
    "a seed": {"temperature": 0.8, "seed": 3},
    "log-probabilities": {"logprobs": 3, "temperature": 0.3, "seed": 1},
    "penalties": {"repeat_penalty": 1.1, "frequency_penalty": 0.3, "presence_penalty": 0.2},
    "truncation": {"temperature": 1.0, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "seed": 11},
    "dry": {"dry_multiplier": 0.8, "temperature": 0.4, "seed": 5},
    "xtc": {"xtc_probability": 0.5, "temperature": 0.7, "seed": 7},
    "mirostat": {"mirostat": 2, "temperature": 0.9, "seed": 2},
    "choices": {"n": 3, "temperature": 0.5, "seed": 4},
    "no end": {"ignore_eos": True, "logit_bias": {5: 1.0}},
    "a schema": {"constraint": PERSON, "temperature": 0.6, "seed": 6},
    "a schema, greedy": {"constraint": PERSON},
    "an expression": {"constraint": Regex("(the |a |lighthouse |island ){12}")},
}
QUESTIONS = [
    f"Repeat this text word for word: {TEXT}",
    f"Correct this text, and give all of it back: {TEXT.replace('where', 'were')}",
    "Say 'tick tock tick tock tick tock' over and over again.",
    f"Who built it? {TEXT} Answer with the sentence that says so.",
]


def whatever_fits(chances, *, most, **_):
    """As many guesses as may be, whether or not they pay."""
    shares = []
    for own in chances:
        shares.append(min(len([*own]), 6, max(0, most - sum(shares))))
    return shares


@pytest.fixture(scope="module")
def guessing(open_driver):
    driver = open_driver(n_ctx=4096, n_parallel=12)
    speculator = driver.engine._thread.stepper._scheduler._speculator
    assert speculator is not None, "this model needs nothing for the same bits again"
    speculator.share = whatever_fits
    yield driver
    driver.engine.close()


@pytest.fixture(scope="module")
def plain(open_driver):
    driver = open_driver(n_ctx=4096, n_parallel=12, speculation=False)
    yield driver
    driver.engine.close()


def ask(driver, question, *, constraint=None, n=1, max_tokens=30, **options):
    compiler = ConstraintCompiler(driver.engine.tokenizer)
    matchers = compiler.matchers(AnswerShape(format=constraint), n) if constraint else (None,) * n
    return driver.submit(driver.chat(question), n=n, matchers=matchers, max_tokens=max_tokens, **options)


def told(asked):
    return {
        number: (
            [(one.token, one.logprob, one.top) for one in choice.sampled],
            (choice.reason, choice.n_tokens, choice.end_token),
        )
        for number, choice in asked.choices.items()
    }


@pytest.mark.parametrize("question", range(len(QUESTIONS)))
def test_answers_are_the_same_to_the_last_bit(guessing, plain, question):
    """Thirteen ways to ask, all at once with guesses; without, too."""
    before = guessing.engine.stats()
    asked = {
        way: [ask(driver, QUESTIONS[question], **options) for driver in (guessing, plain)]
        for way, options in WAYS.items()
    }
    for way, (one, other) in asked.items():
        one.wait()
        other.wait()
        assert one.error is other.error is None
        assert told(one) == told(other), way
    after = guessing.engine.stats()

    assert after.n_drafted > before.n_drafted
    assert after.n_accepted > before.n_accepted
    assert plain.engine.stats().n_drafted == 0
    assert after.kv_used <= after.kv_total


def test_an_answer_that_repeats_takes_fewer_steps_than_it_has_tokens(guessing):
    before = guessing.engine.stats()

    answer = guessing.run("tick tock " * 20, max_tokens=60, ignore_eos=True)

    stats = guessing.engine.stats()
    n_tokens, n_accepted = len(answer.tokens), stats.n_accepted - before.n_accepted
    assert n_accepted > 20
    assert stats.n_steps - before.n_steps < n_tokens - n_accepted + 6
    assert stats.n_completion_tokens - before.n_completion_tokens == n_tokens


def test_what_the_client_expects_is_guessed_from_the_first_token(guessing, plain):
    expected = ask(plain, QUESTIONS[0], max_tokens=24).wait().tokens
    changed = (*expected[:10], 5, *expected[10:])
    before = guessing.engine.stats()

    answers = [ask(guessing, QUESTIONS[0], max_tokens=24, prediction=text).wait() for text in (expected, changed)]

    stats = guessing.engine.stats()
    assert [one.tokens for one in answers] == [expected, expected]
    foretold = [[event.foretold for event in one.choices[0].sampled] for one in answers]
    assert foretold[0] == [True] * len(expected)
    assert 15 < sum(foretold[1]) < len(expected)
    assert stats.n_steps - before.n_steps < len(expected)


def test_a_request_may_go_without(guessing, plain):
    before = guessing.engine.stats()

    answer = ask(guessing, QUESTIONS[0], speculation=False).wait()

    assert guessing.engine.stats().n_drafted == before.n_drafted
    assert told(answer) == told(ask(plain, QUESTIONS[0]).wait())


def test_an_answer_never_gets_longer_than_it_may(guessing):
    for n in (1, 8, 9, 10, 11):
        answer = guessing.run("tick tock " * 20, max_tokens=n, ignore_eos=True)

        assert (len(answer.tokens), answer.choices[0].reason) == (n, "length")


def test_a_sequence_that_gave_way_goes_on_with_the_same_text(open_driver):
    """Cells for hardly more than one of them: who came last is put back, and read again."""
    drivers = [open_driver(n_ctx=256, n_parallel=3, speculation=mode) for mode in (None, False)]
    try:
        drivers[0].engine._thread.stepper._scheduler._speculator.share = whatever_fits
        answers = []
        for driver in drivers:
            running = [ask(driver, QUESTIONS[2], max_tokens=60, seed=n, ignore_eos=True) for n in range(3)]
            driver.wait(*running)
            answers.append([told(one) for one in running])
        assert answers[0] == answers[1]
    finally:
        for driver in drivers:
            driver.engine.close()


def test_a_cancelled_request_leaves_the_others_as_they_are(guessing, plain):
    alone = ask(plain, QUESTIONS[0]).wait()
    others = [ask(guessing, QUESTIONS[2], max_tokens=400, ignore_eos=True) for _ in range(3)]
    answer = ask(guessing, QUESTIONS[0])
    for other in others:
        assert other.first_token.wait(60)
        guessing.engine.cancel(other.id)

    assert told(answer.wait()) == told(alone)


def test_the_next_turn_finds_what_was_really_said(guessing, plain):
    """What was guessed wrong is in no cached prefix."""
    conversation = guessing.chat(QUESTIONS[0])
    for turn in range(3):
        one, other = (driver.run(conversation, max_tokens=30, cache_salt="turns") for driver in (guessing, plain))
        assert one.tokens == other.tokens
        assert one.prefilled.n_cached == other.prefilled.n_cached
        conversation = [*conversation, *one.tokens, *guessing.chat(f"Say it again, {turn}.")]


# With a draft model. SmolLM2 guesses for itself: what it takes to be next is what is next, where nothing is drawn.


@pytest.fixture(scope="module")
def drafting(open_driver, smollm2_gguf):
    driver = open_driver(draft=smollm2_gguf, n_ctx=4096, n_parallel=12)
    driver.engine._thread.stepper._scheduler._speculator.share = whatever_fits
    yield driver
    driver.engine.close()


def test_a_draft_model_changes_no_answer_to_the_last_bit(drafting, plain):
    """In thirteen ways, all at once."""
    before = drafting.engine.stats()
    question = "What do people keep in a harbour, and why?"
    asked = {way: [ask(driver, question, **options) for driver in (drafting, plain)] for way, options in WAYS.items()}
    for way, (one, other) in asked.items():
        one.wait()
        other.wait()
        assert one.error is other.error is None
        assert told(one) == told(other), way
    after = drafting.engine.stats()
    assert after.n_accepted > before.n_accepted


def test_what_a_draft_model_guesses_right_costs_no_step(drafting):
    before = drafting.engine.stats()

    answer = drafting.run("Tell me a story about a fox.", max_tokens=60, ignore_eos=True)

    stats = drafting.engine.stats()
    assert len(answer.tokens) == 60
    assert stats.n_accepted - before.n_accepted > 40
    assert stats.n_steps - before.n_steps < 20


def test_administrators_see_who_guesses(drafting, smollm2_gguf):
    assert f"'{smollm2_gguf.stem}' guesses tokens for it" in drafting.engine.facts.notes
    assert drafting.engine.capabilities.predictions


def test_where_nothing_is_to_be_guessed_no_draft_model_is_loaded(open_driver, tmp_path):
    driver = open_driver(draft=tmp_path / "not-there.gguf", n_ctx=512, speculation=False)
    try:
        assert not any("guesses" in note for note in driver.engine.facts.notes)
    finally:
        driver.engine.close()


def test_a_draft_model_of_another_vocabulary_is_refused(open_driver, tiny_gguf, tmp_path):
    """Most words begin with a blank, which the file writes as one letter, and here as another."""
    tiny_other = tmp_path / "tiny-other.gguf"
    tiny_other.write_bytes(re.sub(b"\xc4\xa0([a-z])", b"\xc4\xa1\\1", tiny_gguf.read_bytes()))
    with pytest.raises(ModelLoadFailed, match=r"'.*' cannot be the draft model: only \d+% of its vocabulary"):
        open_driver(draft=tiny_other, n_ctx=512)


def test_a_draft_model_that_cannot_be_read_is_refused(open_driver, tmp_path):
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelLoadFailed, match="'small' cannot be the draft model: it cannot be loaded"):
        open_driver(draft=tmp_path / "small.gguf", n_ctx=512)


def test_a_recurrent_draft_model_is_refused(open_driver, tiny_recurrent):
    with pytest.raises(ModelLoadFailed, match="cannot be the draft model"):
        open_driver(draft=tiny_recurrent, n_ctx=512)
