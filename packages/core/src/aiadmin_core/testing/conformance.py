"""Behaviours every `Engine` must have, ours and third parties': one function each, its docstring the reason.

A behaviour takes an open engine and raises `AssertionError` where it does not hold, or `NotClaimed` where the engine's
`Capabilities` do not promise it; those about what is claimed are in `claims`. They may run in any order, on one engine.
`test_engine` runs them under pytest; a backend's own tests may call them directly:

    @pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))
    def test_my_engine(behaviour):
        asyncio.run(check(behaviour, my_engine))
"""

import asyncio
import math
import struct
from contextlib import aclosing
from typing import Any, cast

from ..backend import Engine, SupportsEmbed, SupportsTokenize
from ..errors import ContextLengthExceeded, UnsupportedParameter
from ..specs.constraint import JsonObject
from ..specs.content import ImagePart, Message, Tool
from ..specs.events import Failed, Finished, PromptScored, ReasoningDelta, Started, TextDelta
from ..specs.request import ChatInput, TextInput
from . import claims
from .asking import (
    LONG_QUESTION,
    MAX_TOKENS,
    QUESTION,
    QUESTIONS,
    CollectedAnswer,
    NotClaimed,
    collect,
    refusal,
    request,
    served,
    text_that_repeats,
    until_idle,
)
from .behaviour import BEHAVIOURS, Behaviour, Patience, behaviour, check

__all__ = ["BEHAVIOURS", "Behaviour", "Patience", "check", "claims"]


@behaviour
async def a_choice_ends_exactly_once_and_nothing_follows(engine: Engine) -> None:
    """Streams are closed on `Finished`: a second one, or a delta after it, would reach nobody or somebody else."""
    events = await collect(engine, request(engine))
    ends = [event for event in events if isinstance(event, Finished | Failed)]
    assert len(ends) == 1, f"one end expected, got {ends}"
    assert events[-1] is ends[0], f"after the end came {events[events.index(ends[0]) + 1 :]}"
    assert isinstance(ends[0], Finished), f"the request failed: {ends[0]}"


@behaviour
async def started_comes_first_if_it_comes(engine: Engine) -> None:
    """The time to the first token is counted from there."""
    events = await collect(engine, request(engine))
    places = [index for index, event in enumerate(events) if isinstance(event, Started)]
    assert places in ([], [0]), f"Started came as event {places} (the first is 0)"


@behaviour
async def every_event_carries_its_request_id(engine: Engine) -> None:
    """Many requests share one connection."""
    asked = request(engine)
    ids = {event.request_id for event in await collect(engine, asked)}
    assert ids == {asked.id}, f"request {asked.id} was given events of {sorted(ids - {asked.id})}"


@behaviour
async def an_answer_has_text(engine: Engine) -> None:
    """Something has to come out."""
    answer = CollectedAnswer(await collect(engine, request(engine)))
    assert answer.text or answer.reasoning, f"the answer to {QUESTION!r} is empty"


@behaviour
async def every_choice_is_answered(engine: Engine) -> None:
    """`n` answers are asked for, `n` are given, each under its own index."""
    if engine.capabilities.max_choices < 2:
        raise NotClaimed("the engine gives one choice a request")
    events = await collect(engine, request(engine, n=2))
    finished = sorted(event.choice for event in events if isinstance(event, Finished))
    assert finished == [0, 1], f"n=2 was asked for, and the choices {finished} came to an end"
    assert {event.choice for event in events if isinstance(event, TextDelta | ReasoningDelta)} <= {0, 1}


@behaviour
async def max_tokens_ends_with_length(engine: Engine) -> None:
    """Clients tell a cut answer from a finished one by it."""
    answer = CollectedAnswer(await collect(engine, request(engine, max_tokens=3)))
    assert answer.finished.reason == "length", f"max_tokens=3 ended with {answer.finished.reason!r}, not 'length'"
    n_tokens = answer.finished.usage.completion_tokens
    assert n_tokens <= 3, f"max_tokens=3 gave {n_tokens} tokens"


@behaviour
async def a_stop_string_ends_the_answer_and_never_leaks(engine: Engine) -> None:
    """Nobody who asks to stop before a text wants to see it, nor a part of it, nor what follows."""
    whole = await text_that_repeats(engine)
    stop = whole[len(whole) // 2 :][:4]
    answer = CollectedAnswer(await collect(engine, request(engine, stop=(stop,))))
    assert answer.text == whole[: whole.index(stop)], f"stopped at {stop!r}, {whole!r} became {answer.text!r}"
    assert answer.finished.reason == "stop", f"a stop string ended with {answer.finished.reason!r}, not 'stop'"
    assert answer.finished.stop in (stop, None)  # not every engine can know which one it was


@behaviour
async def text_held_back_for_a_stop_string_is_given_out_at_the_end(engine: Engine) -> None:
    """The last characters may look like the beginning of a stop string and be none."""
    whole = await text_that_repeats(engine)
    answer = CollectedAnswer(await collect(engine, request(engine, stop=(whole[-3:] + "\x00never",))))
    assert answer.text == whole, f"a stop string that never comes made {answer.text!r} of {whole!r}"


@behaviour
async def one_seed_gives_one_text(engine: Engine) -> None:
    """Whoever sends a seed wants to see the same text again."""
    if "seed" not in engine.capabilities.sampling:
        raise NotClaimed("the engine honours no seed")
    texts = {
        CollectedAnswer(await collect(engine, request(engine, seed=7, temperature=None))).everything for _ in range(2)
    }
    assert len(texts) == 1, f"Capabilities.sampling claims 'seed', and seed 7 gave {' and '.join(map(repr, texts))}"


@behaviour
async def requests_at_once_do_not_mix(engine: Engine) -> None:
    """Sequences share a batch, a cache and a connection, and must not share text."""
    asked = [request(engine, text) for text in (QUESTION, "Name three colours and a number.", "Say hello to everyone.")]
    streams = await asyncio.gather(*(collect(engine, one) for one in asked))
    for one, events in zip(asked, streams, strict=True):
        assert {event.request_id for event in events} == {one.id}
        assert isinstance(events[-1], Finished)


@behaviour
async def closing_the_stream_frees_its_place(engine: Engine) -> None:
    """A client that leaves costs nobody anything: within a step or two nothing of it is decoded any more."""
    stream = served(engine, request(engine, max_tokens=None))
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, TextDelta | ReasoningDelta | Finished):
                break
    n_steps = engine.stats().n_steps
    stats = await until_idle(engine)
    assert stats.n_steps <= n_steps + 3, "steps were decoded for a request that is closed"
    assert CollectedAnswer(await collect(engine, request(engine))).finished.reason in ("stop", "length")


@behaviour
async def cancelling_before_the_first_event_frees_its_place(engine: Engine) -> None:
    """Clients leave while they queue, and while their prompt is rendered and prefilled."""
    for n_turns in range(4):
        task = asyncio.create_task(collect(engine, request(engine, LONG_QUESTION, max_tokens=None)))
        for _ in range(n_turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until_idle(engine)
    assert CollectedAnswer(await collect(engine, request(engine))).finished.reason in ("stop", "length")


@behaviour
async def an_unused_stream_can_be_closed(engine: Engine) -> None:
    """A client may be gone before anybody asks for the first event."""
    await served(engine, request(engine)).aclose()
    await until_idle(engine)


@behaviour
async def an_answer_that_is_over_holds_no_place(engine: Engine) -> None:
    """The server counts who is busy, and unloads who is not."""
    await collect(engine, request(engine))
    await until_idle(engine)


@behaviour
async def an_id_may_be_used_again(engine: Engine) -> None:
    """Ids are unique among running requests only; what comes late from the first must not reach the second."""
    asked = request(engine, max_tokens=None)
    stream = served(engine, asked)
    async with aclosing(stream):
        await anext(stream)
    again = request(engine, id=asked.id)
    assert sum(isinstance(event, Finished) for event in await collect(engine, again)) == 1


@behaviour
async def usage_adds_up(engine: Engine) -> None:
    """People are billed by it."""
    events = await collect(engine, request(engine))
    answer = CollectedAnswer(events)
    usage = answer.finished.usage
    assert usage.prompt_tokens > 0
    assert 0 < usage.completion_tokens <= MAX_TOKENS
    assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
    assert 0 <= (usage.cached_tokens or 0) <= usage.prompt_tokens
    if isinstance(events[0], Started):
        assert events[0].prompt_tokens == usage.prompt_tokens


@behaviour
async def cached_tokens_are_reported(engine: Engine) -> None:
    """Who pays less for a cached prompt wants to see how much of it was."""
    if not engine.capabilities.cached_tokens:
        raise NotClaimed("the engine does not know what it has cached")
    answer = CollectedAnswer(await collect(engine, request(engine)))
    assert answer.finished.usage.cached_tokens is not None, "cached_tokens is claimed, and Usage has None"


@behaviour
async def characters_are_whole(engine: Engine) -> None:
    """Tokens are bytes, and a character may take several: half of one is no text."""
    answer = CollectedAnswer(await collect(engine, request(engine, "Repeat after me: zwölf 十二 🙂 naïve 🇪🇺 done")))
    for delta in answer.deltas:
        delta.text.encode()  # raises for half a surrogate pair
    body = answer.everything.removesuffix("\ufffd") if answer.finished.reason == "length" else answer.everything
    assert "\ufffd" not in body, f"the answer holds U+FFFD, half a character: {body!r}"


@behaviour
async def log_probabilities_belong_to_the_text(engine: Engine) -> None:
    """The bytes of the tokens are the text they are reported with."""
    if engine.capabilities.max_logprobs is None:
        raise NotClaimed("the engine reports no log-probabilities")
    n = min(2, engine.capabilities.max_logprobs)
    answer = CollectedAnswer(await collect(engine, request(engine, logprobs=n)))
    assert answer.logprobs
    assert all(token.logprob <= 0 and len(token.top) <= n for token in answer.logprobs)
    assert all(other.logprob <= 0 for token in answer.logprobs for other in token.top)
    if not answer.reasoning:
        assert b"".join(token.bytes for token in answer.logprobs).decode("utf-8", "replace") == answer.text


@behaviour
async def a_prompt_is_scored_before_its_answer(engine: Engine) -> None:
    """Evaluation harnesses compare texts by it, mostly without wanting an answer."""
    if not engine.capabilities.scores_prompts:
        raise NotClaimed("the engine does not report a prompt's log-probabilities")
    text = "The sky is blue, zwölf 十二."
    for reads_only in (True, False):
        asked = request(engine, input=TextInput(text=text), logprobs=1, score_prompt=True, reads_only=reads_only)
        events = await collect(engine, asked)
        kinds = [type(event) for event in events]
        assert PromptScored not in kinds[kinds.index(Started) if Started in kinds else 0 :], "scores come first"
        scored = [token for event in events if isinstance(event, PromptScored) for token in event.tokens]
        (finished,) = [event for event in events if isinstance(event, Finished)]
        assert len(scored) == finished.usage.prompt_tokens, "every token of the prompt has its log-probability"
        assert b"".join(token.bytes for token in scored).decode().endswith(text)
        assert scored[0].logprob is None, "nothing is before the first token"
        assert all(token.logprob is not None and token.logprob <= 0 for token in scored[1:])
        assert all(len(token.top) == 1 for token in scored[1:])
        assert (finished.usage.completion_tokens == 0) == reads_only
        assert not reads_only or finished.reason == "length"


@behaviour
async def what_is_not_claimed_is_refused_by_name(engine: Engine) -> None:
    """A field that is silently ignored is a wrong answer."""
    able = engine.capabilities
    image = ChatInput(messages=(Message(role="user", content=(ImagePart(data=b"\x89PNG"),)),))
    tools = ChatInput(messages=QUESTIONS, tools=(Tool(name="f"),))
    asks: list[tuple[bool, str, dict[str, Any]]] = [
        ("image" in able.modalities or "chat" not in able.inputs, "messages[0].content[0]", {"input": image}),
        (able.tools or "chat" not in able.inputs, "tools", {"input": tools}),
        (able.max_logprobs is not None, "logprobs", {"logprobs": 0}),
        (able.scores_prompts, "score_prompt", {"score_prompt": True}),
        ("seed" in able.sampling, "seed", {"seed": 1}),
        ("json_object" in able.constraints, "constraint", {"constraint": JsonObject()}),
        (False, "n", {"n": able.max_choices + 1}),
    ]
    for name, fields in [(name, fields) for claimed, name, fields in asks if not claimed]:
        error = await refusal(engine, request(engine, **fields))
        assert isinstance(error, UnsupportedParameter), f"{name!r} is not claimed, and was not refused: {error!r}"
        assert error.param == name, f"{name!r} is not claimed, and {error.param!r} was refused in its place"


@behaviour
async def a_prompt_that_does_not_fit_is_refused_with_both_numbers(engine: Engine) -> None:
    """The client has to know by how much to shorten it."""
    n_ctx = engine.facts.n_ctx
    if not n_ctx:
        raise NotClaimed("the engine names no context length")
    error = await refusal(engine, request(engine, "word " * n_ctx))
    assert isinstance(error, ContextLengthExceeded), f"{n_ctx} words were asked of {n_ctx} tokens of context: {error!r}"
    assert error.n_ctx == n_ctx, f"the context holds {n_ctx}, the error says {error.n_ctx}"
    assert error.n_prompt >= n_ctx, f"the prompt has at least {n_ctx} tokens, the error says {error.n_prompt}"


@behaviour
async def tokens_turn_back_into_the_text(engine: Engine) -> None:
    """Clients count tokens, and cut texts at them."""
    if "tokenize" not in engine.capabilities.protocols:
        raise NotClaimed("the engine does not tokenize")
    tokenizing = cast(SupportsTokenize, engine)
    text = "Hello, wörld! 十二 🙂"
    tokens = await tokenizing.tokenize(text)
    assert tokens
    try:
        shown = b"".join(await tokenizing.pieces(tokens)).decode().strip()
    except UnsupportedParameter as error:
        raise NotClaimed("the engine does not tell what its tokens stand for") from error
    if engine.capabilities.generates:
        assert shown == text
    else:  # vocabularies of models that only read may drop case and accents
        assert "hello" in shown.lower()


@behaviour
async def a_prompt_is_counted_as_it_is_read(engine: Engine) -> None:
    """Clients fit their conversations into the context by it."""
    if "tokenize" not in engine.capabilities.protocols:
        raise NotClaimed("the engine does not tokenize")
    asked = request(engine, max_tokens=1)
    answer = CollectedAnswer(await collect(engine, asked))
    tokens = await cast(SupportsTokenize, engine).tokenize(asked)
    n_read = answer.finished.usage.prompt_tokens
    assert len(tokens) == n_read, f"the prompt is counted as {len(tokens)} tokens, and {n_read} were read"


@behaviour
async def embeddings_have_length_one(engine: Engine) -> None:
    """So that a dot product is a cosine."""
    if "embed" not in engine.capabilities.protocols:
        raise NotClaimed("the engine does not embed")
    vectors = await cast(SupportsEmbed, engine).embed(["a cat", "a dog"])
    assert len(vectors.n_tokens) == 2
    assert all(n > 0 for n in vectors.n_tokens)
    numbers = struct.unpack(f"<{2 * vectors.n_dims}f", vectors.data)
    for row in (numbers[: vectors.n_dims], numbers[vectors.n_dims :]):
        assert math.isclose(math.hypot(*row), 1.0, rel_tol=1e-3)
