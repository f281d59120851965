"""A text is scored as evaluation harnesses ask for it."""

from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.real_model
TEXT = "The capital of France is Paris, naïve 🙂."


def complete(server: Any, prompt: Any, **fields: Any) -> dict[str, Any]:
    body = {"model": "smollm2", "prompt": prompt, "echo": True, "logprobs": 1, "temperature": 0} | fields
    response = httpx.post(f"{server.base_url}completions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_text_and_its_tokens_have_the_same_log_probabilities(server: Any) -> None:
    body = complete(server, TEXT, max_tokens=0)
    (choice,) = body["choices"]
    scores = choice["logprobs"]
    n = len(scores["tokens"])

    assert (choice["text"], choice["finish_reason"]) == (TEXT, "length")
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == n
    assert scores["token_logprobs"][0] is scores["top_logprobs"][0] is None
    assert all(logprob < 0 for logprob in scores["token_logprobs"][1:])
    assert all(len(top) == 1 for top in scores["top_logprobs"][1:])
    for token, offset in zip(scores["tokens"], scores["text_offset"], strict=True):
        assert token.startswith("bytes:") or TEXT[offset:].startswith(token)
    paris = scores["tokens"].index(" Paris")
    assert scores["top_logprobs"][paris] == {" Paris": scores["token_logprobs"][paris]}

    several = complete(server, [TEXT, "Another text."], max_tokens=0, n=2)["choices"]
    assert [one["text"] for one in several] == [TEXT, TEXT, "Another text.", "Another text."]
    assert several[0]["logprobs"] == several[1]["logprobs"] == scores


def test_an_answer_goes_on_behind_them(server: Any) -> None:
    """`lm-eval` asks for one token, and drops it."""
    ids = [504, 3575, 282, 4649, 314]
    tokens = complete(server, ids, max_tokens=0)["choices"][0]
    (choice,) = complete(server, ids, max_tokens=1)["choices"]
    (texts,) = complete(server, tokens["text"], max_tokens=1)["choices"]

    assert choice["text"].startswith(tokens["text"])
    assert {name: items[:-1] for name, items in choice["logprobs"].items()} == tokens["logprobs"]
    assert (texts["text"], texts["logprobs"]) == (choice["text"], choice["logprobs"])
    assert choice["logprobs"]["token_logprobs"][-1] < 0
    assert choice["logprobs"]["text_offset"][-1] == len(tokens["text"])


@pytest.mark.parametrize("tokenized", [True, False])
def test_answers_to_a_question_have_the_numbers_of_a_direct_computation(
    server: Any, smollm2_gguf: Path, direct_logprobs: Any, tokenized: bool
) -> None:
    """As `lm-eval` asks, with and without its `tokenized_requests`: question and answer, one after the other."""

    def tokens_of(text: str) -> list[int]:
        body = {"model": "smollm2", "prompt": text}
        tokens: list[int] = httpx.post(f"{server.base_url}tokenize", json=body, timeout=60).json()["tokens"]
        return tokens

    question = "Question: What is the capital of France?\nAnswer:"
    n_question = len(tokens_of(question))
    for answer in (" Paris", " Berlin, I think", " a cat"):
        tokens = tokens_of(question + answer)
        (choice,) = complete(server, tokens if tokenized else question + answer, max_tokens=1)["choices"]
        told = choice["logprobs"]["token_logprobs"][1:-1]
        expected = direct_logprobs(smollm2_gguf, tokens)[range(len(tokens) - 1), tokens[1:]]
        assert told == pytest.approx(expected.tolist(), abs=1e-3)
        assert sum(told[n_question - 1 :]) == pytest.approx(sum(expected[n_question - 1 :]), abs=1e-3)
