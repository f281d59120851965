"""A server that is asked the same again says the same again, and reads a prompt once, also after a restart."""

import httpx
import pytest

pytestmark = pytest.mark.real_model

SYSTEM = "You are a librarian who answers in one short sentence and loves old maps. " * 12


def ask(server, *, stream=False, **fields):
    """(text, cached tokens)."""
    body = {
        "model": "smollm2",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Where are the atlases?"}],
        "temperature": 0,
        "max_tokens": 24,
        **fields,
    }
    answer = httpx.post(f"{server.base_url}chat/completions", json=body, timeout=120)
    answer.raise_for_status()
    data = answer.json()
    return data["choices"][0]["message"]["content"], data["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_three_times_and_after_a_restart(product):
    with product.serve() as server:
        first, n_first = ask(server)
        answers = [ask(server) for _ in range(2)]
        model = server.ps()[0]
    with product.serve() as server:
        again, n_again = ask(server)

    assert [text for text, _ in answers] == [first] * 2
    assert again == first
    assert n_first < 32
    assert all(n > 150 for n in (n_again, *(n for _, n in answers)))
    assert "reproducible" in " ".join(model["notes"])
