"""`aiadmin bench`: what is made of measured answers, and a real one."""

import json

import pytest

from aiadmin_core.errors import AiAdminError
from aiadmin_server.cli._answer import PrintedAnswer
from aiadmin_server.cli._bench import Measured, summary
from aiadmin_server.cli.bench import lines


def answer(first_s: float, decode_s: float, n_prompt: int = 100, n: int = 11, cached: int = 0) -> PrintedAnswer:
    usage = {"prompt_tokens": n_prompt, "completion_tokens": n, "prompt_tokens_details": {"cached_tokens": cached}}
    return PrintedAnswer(usage=usage, asked_at=5.0, first_at=5.0 + first_s, last_at=5.0 + first_s + decode_s)


def test_rates_are_of_what_was_computed_and_medians_are_told_with_the_extremes():
    answers = [answer(0.5, 1.0), answer(1.0, 2.0, cached=50), answer(2.0, 0.5)]
    found = summary(Measured(3.0, answers, elapsed_s=6.6), n_clients=2)
    assert found["first_token_s"] == (0.5, 1.0, 2.0)
    assert found["prompt_tokens_per_s"] == (50.0, 50.0, 200.0), "cached tokens were not read"
    assert found["tokens_per_s"] == (5.0, 10.0, 20.0), "the first token is the prompt's"
    assert found["total_tokens_per_s"] == pytest.approx(5.0)
    shown = dict(lines(Measured(3.0, answers, 6.6), found))
    assert shown["answer"] == "10.0 tokens/s (5.0 to 20.0), 11 tokens"
    assert shown["cached"].startswith("50 tokens")


def test_a_model_that_says_nothing_cannot_be_measured():
    with pytest.raises(AiAdminError, match="nothing can be told"):
        summary(Measured(1.0, [answer(1.0, 0.0, n=1)], 1.0), n_clients=1)


@pytest.mark.real_model
def test_a_real_model_is_measured(product):
    sizes = ("--tokens", "8", "--prompt-tokens", "40", "--clients", "2", "--rounds", "1")
    done = product.run("bench", "smollm2", *sizes, "--json", AIADMIN_HOST="127.0.0.1:9")
    found = json.loads(done.stdout)
    assert (found["requests"], found["completion_tokens"]) == (2, 8)
    assert 30 < found["prompt_tokens"] < 150
    assert 1 < found["tokens_per_s"][1] < 5000
