"""A whole backend: it offers one model, `echo`, that answers with the words of the last message."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from aiadmin_core.backend import Backend, Health, ModelInfo
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.content import plain_text
from aiadmin_core.specs.events import Event, Finished, FinishReason, Started, TextDelta, Usage
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec
from aiadmin_core.specs.request import GenerateRequest
from aiadmin_core.text.stop import StopStrings

ECHO = ModelSpec(name="echo", digest="echo", format="other", files=())


class EchoEngine:
    """Messages in, events out; closing the generator cancels the request."""

    capabilities = Capabilities(sampling=frozenset({"temperature", "seed"}))  # no chance in an echo
    facts = ModelFacts(architecture="echo")

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        words = plain_text(request.messages[-1].content).split()
        yield Started(request.id, prompt_tokens=len(words))
        stops, n_tokens = StopStrings(request.sampling.stop), 0
        for word in words[: request.sampling.max_tokens]:
            await asyncio.sleep(0)  # others have their turn
            n_tokens += 1
            if text := stops.feed(word + " "):
                yield TextDelta(request.id, text)
            if stops.matched:
                break
        if text := stops.flush():
            yield TextDelta(request.id, text)
        reason: FinishReason = "stop" if stops.matched or n_tokens == len(words) else "length"
        usage = Usage(prompt_tokens=len(words), completion_tokens=n_tokens)
        yield Finished(request.id, reason, usage, stop=stops.matched)

    def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None: ...


class EchoBackend:
    """Opens the one model it offers."""

    name = "echo"

    def models(self) -> Sequence[ModelSpec]:
        return [ECHO]

    def suitability(self, model: ModelSpec) -> int | None:
        return 50 if model.digest == ECHO.digest else None

    def inspect(self, path: Path) -> ModelInfo | None:
        return None

    def build_id(self) -> str:
        return ""

    def health(self) -> Health:
        return Health(ok=True, summary="nothing to install")

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> EchoEngine:
        return EchoEngine()


@hookimpl
def aiadmin_backends() -> Sequence[Backend]:
    return [EchoBackend()]
