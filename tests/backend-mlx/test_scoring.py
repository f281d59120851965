"""A prompt's own log-probabilities, against the model called directly."""

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from aiadmin_core.backend import Prefilled, PromptRows
from aiadmin_mlx.engine.scheduler import MOST_SCORED

SHORT = "The sky over Zürich is 🙂 blue, 十二 times a day."
LONG = "One day a fox met a hen. " * 30


@pytest.fixture(scope="module")
def direct(tiny_mlx):
    model, _ = load_model(tiny_mlx)

    def logprobs(tokens):
        """float64[n - 1, n_vocab], from one call."""
        logits = np.array(model(mx.array(tokens)[None])[0, :-1].astype(mx.float32)).astype(np.float64)
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    return logprobs


def assert_same(asked, tokens, expected, *, n_top):
    rows = asked.all(PromptRows)
    logprobs, tops = ([one for row in rows for one in getattr(row, name)] for name in ("logprobs", "top"))
    np.testing.assert_allclose(logprobs, expected[np.arange(len(tokens) - 1), tokens[1:]], atol=1e-3)
    assert [len(top) for top in tops] == [n_top] * len(logprobs)
    found = [[logprob for _, logprob in top] for top in tops]
    np.testing.assert_allclose(found, -np.sort(-expected, axis=1)[:, :n_top], atol=1e-3)


@pytest.mark.parametrize("text", [SHORT, LONG])
@pytest.mark.parametrize("max_tokens", [0, 3])
def test_they_are_those_of_a_direct_computation(tiny, direct, text, max_tokens):
    tokens = tiny.encode(f"{max_tokens}: {text}")
    tiny.run(tokens, max_tokens=1)  # what is cached gives no rows: it must not be used

    asked = tiny.run(tokens, max_tokens=max_tokens, score_prompt=True, logprobs=4)

    assert_same(asked, tokens, direct(tokens), n_top=4)
    assert (len(asked.tokens), asked.reasons) == (max_tokens, {0: "length"})
    kinds = [type(event) for event in asked.events]
    assert kinds.index(Prefilled) == kinds.count(PromptRows)
    assert max(len(row.logprobs) for row in asked.all(PromptRows)) < 2 * MOST_SCORED


@pytest.mark.parametrize("at_once", [True, False])
def test_answers_to_one_question_are_scored_as_if_each_came_alone(tiny, direct, at_once):
    question = tiny.encode(f"{at_once}: " + LONG)
    prompts = [[*question, *tiny.encode(f"{word} is the answer to it")] for word in ("This", "That", "Those 🙂")]

    asked = []
    for tokens in prompts:
        asked.append(tiny.submit(tokens, max_tokens=0, score_prompt=True, logprobs=2))
        if not at_once:
            asked[-1].wait()
    for one, tokens in zip(asked, prompts, strict=True):
        assert_same(one.wait(), tokens, direct(tokens), n_top=2)
    assert [one.prefilled.n_cached > len(question) - 3 for one in asked] == [False, True, True]
    assert_same(
        tiny.run(prompts[0], max_tokens=0, score_prompt=True, logprobs=2), prompts[0], direct(prompts[0]), n_top=2
    )


def test_others_go_on_meanwhile(tiny, direct):
    tokens = tiny.encode("Others: " + LONG)
    alone = tiny.run("Once", max_tokens=60, end_tokens=frozenset()).tokens
    stream = tiny.submit("Once", max_tokens=60, end_tokens=frozenset(), cache_salt="others")
    assert stream.first_token.wait(30)

    asked = tiny.run(tokens, max_tokens=2, n=2, score_prompt=True, logprobs=1)

    assert_same(asked, tokens, direct(tokens), n_top=1)
    assert stream.wait().tokens == alone


def test_a_single_token_has_no_score_and_a_read_prompt_is_cached(tiny):
    one = tiny.run([5], max_tokens=0, score_prompt=True)
    assert (one.all(PromptRows), one.reasons) == ([], {0: "length"})
    tokens = tiny.encode("A hare, a tortoise and " + SHORT)
    tiny.run(tokens, max_tokens=0)
    assert tiny.run(tokens, max_tokens=1).prefilled.n_cached == len(tokens) - 1
