"""A prompt's own log-probabilities, against llama.cpp called directly."""

import numpy as np
import pytest

from aiadmin_core.backend import Prefilled, PromptRows
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.testing.driving import Driver
from aiadmin_llamacpp.backend import LlamaBackend
from aiadmin_llamacpp.engine.plan import MOST_SCORED

pytestmark = pytest.mark.real_model
SHORT = "The sky over Zürich is 🙂 blue, 十二 times a day."
LONG = "One day a fox met a hen. " * 30


@pytest.fixture(scope="module")
def direct(direct_logprobs):
    return direct_logprobs


def scored(asked):
    """(log-probabilities, most likely ones), joined over the steps."""
    rows = asked.all(PromptRows)
    return [one for row in rows for one in row.logprobs], [one for row in rows for one in row.top]


def assert_same(asked, tokens, expected, *, n_top):
    logprobs, tops = scored(asked)
    assert len(logprobs) == len(tokens) - 1
    np.testing.assert_allclose(logprobs, expected[np.arange(len(tokens) - 1), tokens[1:]], atol=1e-3)
    assert [len(top) for top in tops] == [n_top] * len(logprobs)
    found = [[logprob for _, logprob in top] for top in tops]
    np.testing.assert_allclose(found, -np.sort(-expected, axis=1)[:, :n_top], atol=1e-3)


@pytest.fixture(scope="module")
def tiny(tiny_gguf):
    spec = ModelSpec(name="tiny", digest="", format="gguf", files=(ModelFile(role="model", path=str(tiny_gguf)),))
    options = EngineOptions(safe_mode=True, n_ctx=1024, n_parallel=4)
    driver = Driver(LlamaBackend().open_engine(spec, options))
    yield driver
    driver.engine.close()


@pytest.mark.parametrize("text", [SHORT, LONG])
@pytest.mark.parametrize("max_tokens", [0, 3])
def test_they_are_those_of_a_direct_computation(driver, smollm2_gguf, text, max_tokens, direct):
    tokens = driver.encode(f"{max_tokens}: {text}")
    driver.run(tokens, max_tokens=1)  # what is cached gives no rows: it must not be used

    asked = driver.run(tokens, max_tokens=max_tokens, score_prompt=True, logprobs=4)

    assert_same(asked, tokens, direct(smollm2_gguf, tokens), n_top=4)
    assert asked.prefilled.n_cached < 4, "what was scored before begins otherwise"
    assert (len(asked.tokens), asked.reasons) == (max_tokens, {0: "length"})
    assert asked.choices[0].n_tokens == max_tokens
    kinds = [type(event) for event in asked.events]
    assert kinds.index(Prefilled) == kinds.count(PromptRows)


def test_another_model_says_what_it_says_itself(tiny, tiny_gguf, direct):
    tokens = tiny.encode(LONG + SHORT)

    asked = tiny.run(tokens, max_tokens=0, score_prompt=True, logprobs=2)

    assert_same(asked, tokens, direct(tiny_gguf, tokens), n_top=2)


def test_a_long_text_is_scored_in_pieces(tiny):
    tokens = tiny.encode(LONG)

    asked = tiny.run(tokens, max_tokens=0, score_prompt=True)

    assert max(len(row.logprobs) for row in asked.all(PromptRows)) <= MOST_SCORED < len(tokens)


def test_others_go_on_meanwhile(tiny, tiny_gguf, direct):
    """Rows of who is decoded beside them are nobody else's."""
    first, second = tiny.encode(LONG), tiny.encode(SHORT + LONG)
    stream = tiny.submit("Once", max_tokens=200, ignore_eos=True)
    assert stream.first_token.wait(30)

    asked = [tiny.submit(tokens, max_tokens=0, score_prompt=True, logprobs=1) for tokens in (first, second)]
    tiny.wait(stream, *asked)

    assert stream.tokens == tiny.run("Once", max_tokens=200, ignore_eos=True).tokens
    for one, tokens in zip(asked, (first, second), strict=True):
        assert_same(one, tokens, direct(tiny_gguf, tokens), n_top=1)


def test_what_was_scored_is_cached_for_others(tiny):
    tokens = tiny.encode("A hare, a tortoise and " + LONG)
    tiny.run(tokens, max_tokens=0, score_prompt=True)

    assert tiny.run(tokens, max_tokens=1).prefilled.n_cached == len(tokens) - 1


def test_choices_share_the_scores_and_a_single_token_has_none(tiny):
    tokens = tiny.encode(SHORT)

    both = tiny.run(tokens, n=2, max_tokens=0, score_prompt=True)
    one = tiny.run(tokens[:1], max_tokens=0, score_prompt=True)

    assert len(scored(both)[0]) == len(tokens) - 1
    assert both.reasons == {0: "length", 1: "length"}
    assert one.all(PromptRows) == []
    assert one.reasons == {0: "length"}


@pytest.mark.parametrize("at_once", [True, False])
def test_answers_to_one_question_are_scored_as_if_each_came_alone(tiny, tiny_gguf, at_once, direct):
    """What they begin with is computed once, and told with each."""
    question = tiny.encode(f"{at_once}: " + LONG)
    prompts = [[*question, *tiny.encode(f"{word} is the answer to it")] for word in ("This", "That", "Those 🙂")]
    n_steps = tiny.engine.stats().n_steps

    asked = []
    for tokens in prompts:
        asked.append(tiny.submit(tokens, max_tokens=0, score_prompt=True, logprobs=3))
        if not at_once:
            tiny.wait(asked[-1])
    tiny.wait(*asked)

    for one, tokens in zip(asked, prompts, strict=True):
        assert_same(one, tokens, direct(tiny_gguf, tokens), n_top=3)
    assert sorted(one.prefilled.n_cached > len(question) - 2 for one in asked) == [False, True, True]
    assert tiny.engine.stats().n_steps - n_steps <= len(prompts[0]) // MOST_SCORED + 4
