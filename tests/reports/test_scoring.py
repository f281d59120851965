"""A text is scored as evaluation harnesses ask for it."""

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
