"""Streams of different clients are decoded together, and each gets the text it would get alone."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("batching")]
QUESTIONS = [
    "Why is the sky blue?",
    "Name three fruits.",
    "What is the capital of France?",
    "Write a sentence about dogs.",
    "How many days are in a week?",
    "What do bees make?",
    "Tell me a joke.",
    "What is water made of?",
]
N_TOKENS = 24
NEAR_TIE = 0.35
"""Nats between the best two candidates: a batch adds up floats in another order, and may swap them below this."""


async def stream(client: Any, question: str) -> tuple[str, list[Any]]:
    """The text, and its tokens with their two best candidates."""
    pieces, tokens = [], []
    chunks = await client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": question}],
        temperature=0,
        max_tokens=N_TOKENS,
        stream=True,
        logprobs=True,
        top_logprobs=2,
    )
    async for chunk in chunks:
        choice = chunk.choices[0]
        if choice.delta.content:
            pieces.append(choice.delta.content)
        if choice.logprobs and choice.logprobs.content:
            tokens.extend(choice.logprobs.content)
    return "".join(pieces), tokens


@pytest.mark.parametrize(("contexts", "least_together"), [(1, len(QUESTIONS)), (2, len(QUESTIONS) // 2)])
def test_eight_streams_are_decoded_together_and_say_what_each_says_alone(
    product: Any, contexts: int, least_together: int, record_property: Callable[[str, object], None]
) -> None:
    """In one context; and in two side by side, of which each has its half at least once."""
    with product.serve(AIADMIN_CONTEXTS=str(contexts)) as server:
        _compare(server, least_together, record_property)


def _compare(server: Any, least_together: int, record_property: Callable[[str, object], None]) -> None:
    async def main() -> tuple[list[Any], list[Any]]:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
            alone = [await stream(client, question) for question in QUESTIONS]
            together = await asyncio.gather(*(stream(client, question) for question in QUESTIONS))
            return alone, list(together)

    alone, together = asyncio.run(main())

    server.eventually(lambda it: it.metric("aiadmin_engine_max_batch") >= least_together)
    identical = 0
    for question, (text_alone, tokens_alone), (text_together, tokens_together) in zip(
        QUESTIONS, alone, together, strict=True
    ):
        if text_alone == text_together:
            identical += 1
            continue
        parted = next(
            (one, other) for one, other in zip(tokens_alone, tokens_together, strict=False) if one.token != other.token
        )
        best, second = (candidate.logprob for candidate in parted[0].top_logprobs)
        assert best - second < NEAR_TIE, f"{question!r}: {text_alone!r} became {text_together!r}"
    record_property("identical_texts", f"{identical}/{len(QUESTIONS)}")
    print(f"identical texts: {identical} of {len(QUESTIONS)}")
