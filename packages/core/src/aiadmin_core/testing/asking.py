"""Asking an engine and putting its events together: what `conformance` is written with."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from ..backend import Engine
from ..errors import AiAdminError
from ..refuse import unsupported
from ..specs.content import Message, TextPart
from ..specs.events import Event, Failed, Finished, ReasoningDelta, TextDelta, TokenLogprob
from ..specs.model import EngineStats
from ..specs.request import ChatInput, GenerateRequest, TextInput
from ..specs.sampling import SamplingParams
from .behaviour import PATIENCE, counters


class NotClaimed(Exception):
    """The engine does not promise this behaviour; the message says why it is left out."""


QUESTION = "Please count from one to twenty in words, then name the days of the week."
QUESTIONS = (Message(role="user", content=(TextPart(QUESTION),)),)
LONG_QUESTION = "Consider this. " * 40 + QUESTION
MAX_TOKENS = 24
_IDS = itertools.count(1)
_DECODER = msgspec.msgpack.Decoder(Event)


def request(engine: Engine, text: str = QUESTION, **fields: Any) -> GenerateRequest:
    """A question `engine` can take, its answer short and as repeatable as the engine allows. Fields of
    `SamplingParams` and of `GenerateRequest` may be given; None takes a sampling field's default."""
    sampling: dict[str, Any] = {"max_tokens": MAX_TOKENS, "temperature": 0.0, "seed": 1}
    able = engine.capabilities.sampling | {"max_tokens", "stop", "logprobs"}
    sampling = {name: value for name, value in sampling.items() if name in able}
    names = SamplingParams.__struct_fields__
    sampling.update({name: fields.pop(name) for name in list(fields) if name in names})
    if "input" not in fields:
        chat = ChatInput(messages=(Message(role="user", content=(TextPart(text),)),))
        fields["input"] = chat if "chat" in engine.capabilities.inputs else TextInput(text=text)
    given = {name: value for name, value in sampling.items() if value is not None}
    return GenerateRequest(**{"id": next(_IDS), **fields}, sampling=SamplingParams(**given))


async def served(engine: Engine, asked: GenerateRequest) -> AsyncGenerator[Event, None]:
    """The events of `asked` as the server gets them: what the engine does not claim never reaches it. Raises
    `NotClaimed` for an engine that generates nothing, and `AssertionError` for what no engine may raise or give."""
    if not engine.capabilities.generates:
        raise NotClaimed("the engine generates no text")
    if refusal := unsupported(asked, engine.capabilities):
        raise refusal
    try:
        async with aclosing(engine.generate(asked)) as events:
            async for event in events:
                _check_event(event)
                yield event
    except (AiAdminError, AssertionError):
        raise
    except Exception as error:
        raise AssertionError(
            f"`generate` raised {type(error).__name__}: {error}, for a {type(asked.input).__name__}. What a request "
            f"cannot have is refused with an error of aiadmin_core.errors; anything else is a 500."
        ) from error


def _check_event(event: Event) -> None:
    assert isinstance(event, Event), f"`generate` gave {event!r}, which is no event of aiadmin_core.specs.events"
    try:
        arrived = _DECODER.decode(msgspec.msgpack.encode(event))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise AssertionError(f"{event!r} does not reach the server as it is: {error}") from None
    assert arrived == event, f"{event!r} reaches the server as {arrived!r}"


async def collect(engine: Engine, asked: GenerateRequest) -> list[Event]:
    """All events of `asked`."""
    async with aclosing(served(engine, asked)) as events:
        return [event async for event in events]


async def refusal(engine: Engine, asked: GenerateRequest) -> AiAdminError | None:
    """The error that `asked` is turned away with; None if it is answered."""
    try:
        await collect(engine, asked)
    except AiAdminError as error:
        return error
    return None


async def text_that_repeats(engine: Engine) -> str:
    """A text that the engine gives each time it is asked, a few characters long at least."""
    first, second = [CollectedAnswer(await collect(engine, request(engine))).text for _ in range(2)]
    if first != second or len(first) < 8:
        raise NotClaimed("the engine's answers do not repeat, so it cannot be told what a stop string took away")
    return first


async def until_idle(engine: Engine) -> EngineStats:
    """Counters once nothing runs or waits. Raises `AssertionError` where that does not come."""
    idle_s = PATIENCE.get().idle_s
    counters(engine)
    try:
        async with asyncio.timeout(idle_s):
            while (stats := engine.stats()).n_running or stats.n_waiting:  # noqa: ASYNC110 - engines have no event for it
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(
            f"no request is open, and {idle_s:g} s later the engine still counts {counters(engine)}: a request that is "
            f"over, or was closed, keeps its place. Free it in a `finally`."
        ) from None
    return stats


class CollectedAnswer:
    """The events of a request's only choice, put together."""

    def __init__(self, events: Sequence[Event]) -> None:
        failed = [event.message for event in events if isinstance(event, Failed)]
        assert not failed, f"the request failed: {failed}"
        self.deltas = [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]
        (self.finished,) = [event for event in events if isinstance(event, Finished)]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, ReasoningDelta))

    @property
    def everything(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [token for delta in self.deltas for token in delta.logprobs]
