"""Asking an engine and putting its events together: what `conformance` is written with."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ..backend import Engine
from ..errors import AiAdminError
from ..refuse import unsupported
from ..specs.content import Message, TextPart
from ..specs.events import Event, Failed, Finished, ReasoningDelta, TextDelta, TokenLogprob
from ..specs.model import EngineStats
from ..specs.request import ChatInput, GenerateRequest, TextInput
from ..specs.sampling import SamplingParams


class NotClaimed(Exception):
    """The engine does not promise this behaviour; the message says why it is left out."""


QUESTION = "Please count from one to twenty in words, then name the days of the week."
QUESTIONS = (Message(role="user", content=(TextPart(QUESTION),)),)
LONG_QUESTION = "Consider this. " * 40 + QUESTION
MAX_TOKENS = 24
_IDS = itertools.count(1)


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
    """The events of `asked` as the server gets them: what the engine does not claim never reaches it."""
    if refusal := unsupported(asked, engine.capabilities):
        raise refusal
    async with aclosing(engine.generate(asked)) as events:
        async for event in events:
            yield event


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
    first, second = [Answer(await collect(engine, request(engine))).text for _ in range(2)]
    if first != second or len(first) < 8:
        raise NotClaimed("the engine's answers do not repeat, so it cannot be told what a stop string took away")
    return first


async def until_idle(engine: Engine) -> EngineStats:
    """Counters once nothing runs or waits."""
    while (stats := engine.stats()).n_running or stats.n_waiting:  # noqa: ASYNC110 - engines have no event for it
        await asyncio.sleep(0.005)
    return stats


class Answer:
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
