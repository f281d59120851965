"""Every feature of the engine once on the real model. It decodes about seven tokens a second: short answers."""

import json

import pytest

from aiadmin_core.backend import Sampled
from aiadmin_core.constraint.compiler import ConstraintCompiler
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.specs.constraint import JsonSchema

pytestmark = pytest.mark.real_model

CAPITAL = (
    "<|im_start|>system\nAnswer in one word.<|im_end|>\n"
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
)


def test_it_answers_sensibly_and_stops_by_itself(real):
    answer = real.run(CAPITAL, max_tokens=12, end_tokens=real.engine.tokenizer.end_tokens)

    assert "Paris" in real.text(answer.tokens)
    assert answer.reasons == {0: "stop"}


def test_a_batch_of_different_lengths_says_what_each_says_alone(real):
    """bfloat16 rounds differently in different shapes: where the texts part, the two candidates are close."""
    prompts = [CAPITAL, "1, 2, 3, 4,", "The opposite of hot is"]
    alone = [real.run(prompt, max_tokens=5, logprobs=2).all(Sampled) for prompt in prompts]

    together = [real.submit(prompt, max_tokens=5, logprobs=2, cache_salt="batch") for prompt in prompts]

    for answer, expected in zip(together, alone, strict=True):
        for ours, theirs in zip(answer.wait().all(Sampled), expected, strict=True):
            if ours.token != theirs.token:
                assert abs(ours.top[0][1] - ours.top[1][1]) < 0.2
                break
            assert ours.logprob == pytest.approx(theirs.logprob, abs=0.3)


def test_a_prefix_is_reused(real):
    first = real.run(CAPITAL, max_tokens=1, cache_salt="prefix")
    second = real.run(CAPITAL + "The", max_tokens=1, cache_salt="prefix")

    assert second.prefilled.n_cached >= first.prefilled.n_prompt - 1


def test_a_seed_repeats_two_choices_of_one_prefill(real):
    settings = {"max_tokens": 4, "temperature": 1.0, "top_p": 0.95, "top_k": 50, "min_p": 0.02, "seed": 3}
    first = real.run(CAPITAL, n=2, **settings)
    again = real.run(CAPITAL, n=2, **settings)

    assert first.choices[0].tokens == again.choices[0].tokens
    assert first.choices[1].tokens == again.choices[1].tokens


def test_a_json_schema_binds_inside_a_batch(real):
    tokenizer = real.engine.tokenizer
    properties = {"city": {"enum": ["Paris", "London"]}, "n": {"type": "integer", "maximum": 9, "minimum": 0}}
    schema = {"type": "object", "properties": properties, "required": ["city", "n"], "additionalProperties": False}
    (matcher,) = ConstraintCompiler(tokenizer).matchers(AnswerShape(format=JsonSchema(schema=schema)), 1)

    company = real.submit("Once upon a time", max_tokens=10)
    settings = {"end_tokens": tokenizer.end_tokens, "temperature": 1.0, "seed": 1}
    answer = real.run(CAPITAL, max_tokens=40, matchers=(matcher,), **settings)

    assert answer.reasons == {0: "stop"}
    found = json.loads(real.text(answer.tokens))
    assert found["city"] in ("Paris", "London")
    assert 0 <= found["n"] <= 9
    assert len(company.wait().tokens) == 10


def test_penalties_change_what_is_repeated(real):
    plain = real.run("ha ha ha ha ha ha ha ha", max_tokens=5)
    punished = real.run(
        "ha ha ha ha ha ha ha ha", max_tokens=5, repeat_penalty=1.8, frequency_penalty=1.5, presence_penalty=1.0
    )

    assert len(set(plain.tokens)) < len(set(punished.tokens))


def test_cancelling_frees_the_place(real):
    answer = real.submit("A long story:", max_tokens=500)
    answer.first_token.wait(60)
    real.engine.cancel(answer.request.id)

    assert len(real.run("Hi", max_tokens=2).tokens) == 2
    assert real.engine.stats().n_running == 0
