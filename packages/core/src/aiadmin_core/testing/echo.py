"""The smallest backend: it answers with the words of the last message. For tests."""

import asyncio
from collections.abc import AsyncGenerator

from ..backend import Backend, Health
from ..specs.content import plain_text
from ..specs.model import EngineOptions, ModelFacts, ModelSpec
from ..specs.request import GenerateRequest
from ..text_engine import TextEngine


class EchoBackend(Backend):
    """Opens anything."""

    name = "echo"

    def suitability(self, model: ModelSpec) -> int | None:
        return 1 if model.format == "other" else None

    def health(self) -> Health:
        return Health(ok=True, summary="echo: always well")

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> "EchoEngine":  # noqa: ARG002 - nothing to load
        return EchoEngine()


class EchoEngine(TextEngine):
    """One word is one token. `delay_s` is how long each takes, for tests that watch a stream."""

    facts = ModelFacts(architecture="echo")

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    async def pieces(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        for word in plain_text(request.messages[-1].content).split():
            await asyncio.sleep(self._delay_s)
            yield word + " "
