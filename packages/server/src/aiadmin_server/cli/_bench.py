"""What `aiadmin bench` measures: requests over HTTP, timed by this process's clock."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

from aiadmin_core.errors import AiAdminError

from ._answer import CHAT_PATH, PrintedAnswer
from ._client import Client

WORDS = [
    "river",
    "stone",
    "window",
    "garden",
    "letter",
    "winter",
    "copper",
    "candle",
    "harbor",
    "meadow",
    "silver",
    "thunder",
    "basket",
    "mirror",
    "orange",
    "pepper",
    "rocket",
    "saddle",
    "timber",
    "velvet",
    "walnut",
    "yellow",
    "anchor",
    "bridge",
    "castle",
    "desert",
    "engine",
    "forest",
    "guitar",
    "hammer",
]
"""Of which prompts are made: about a token each, for most vocabularies."""


@dataclass(frozen=True)
class Measured:
    """What was seen."""

    load_s: float
    """Until the first answer, which had the model loaded, was there."""
    answers: Sequence[PrintedAnswer]
    elapsed_s: float
    """Of all of them together."""


def measure(
    url: str, api_key: str, model: str, *, n_prompt: int, n_tokens: int, n_clients: int, rounds: int
) -> Measured:
    """Ask `model`, once to load it and then `rounds` times from each of `n_clients`. Raises what a request does."""
    chance = random.Random()  # noqa: S311 - prompts that nobody has asked before

    def ask(_: int) -> list[PrintedAnswer]:
        with Client(url, api_key) as client:
            return [_one(client, model, _prompt(chance, n_prompt), n_tokens) for _ in range(rounds)]

    begun = time.perf_counter()
    with Client(url, api_key) as client:
        _one(client, model, _prompt(chance, 8), 2)
    load_s = time.perf_counter() - begun
    begun = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        answers = [answer for one in pool.map(ask, range(n_clients)) for answer in one]
    return Measured(load_s, answers, time.perf_counter() - begun)


def summary(measured: Measured, *, n_clients: int) -> dict[str, Any]:
    """Of each quantity the least, the median and the greatest; counts are the median's, or sums. Pure.

    Raises `AiAdminError` where an answer was too short to tell.
    """
    answers = measured.answers
    if any(_count(answer, "completion_tokens") < 2 or answer.first_at is None for answer in answers):
        raise AiAdminError(
            "The model ends its answers at once, or the server does not say how long they are: nothing can be told."
        )
    first_s = [(answer.first_at or 0.0) - answer.asked_at for answer in answers]
    decode_s = [answer.last_at - (answer.first_at or 0.0) for answer in answers]
    n_tokens = [_count(answer, "completion_tokens") for answer in answers]
    n_read = [_count(answer, "prompt_tokens") - _cached(answer) for answer in answers]
    return {
        "clients": n_clients,
        "requests": len(answers),
        "prompt_tokens": int(median(_count(answer, "prompt_tokens") for answer in answers)),
        "completion_tokens": int(median(n_tokens)),
        "cached_tokens": sum(map(_cached, answers)),
        "first_token_s": _spread(first_s),
        "prompt_tokens_per_s": _spread([n / s for n, s in zip(n_read, first_s, strict=True)]),
        "tokens_per_s": _spread([(n - 1) / s if s > 0 else 0.0 for n, s in zip(n_tokens, decode_s, strict=True)]),
        "total_tokens_per_s": sum(n_tokens) / measured.elapsed_s,
        "load_s": measured.load_s,
    }


def _one(client: Client, model: str, prompt: str, n_tokens: int) -> PrintedAnswer:
    answer = PrintedAnswer(asked_at=time.perf_counter())
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": n_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for chunk in client.stream(CHAT_PATH, body):
        now = time.perf_counter()
        answer.add(chunk, now)
        if answer.first_at is None and any(choice["delta"].get("reasoning_content") for choice in chunk["choices"]):
            answer.first_at = answer.last_at = now
    return answer


def _prompt(chance: random.Random, n_words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(n_words))


def _count(answer: PrintedAnswer, name: str) -> int:
    return int((answer.usage or {}).get(name) or 0)


def _cached(answer: PrintedAnswer) -> int:
    return int(((answer.usage or {}).get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), median(values), max(values)
