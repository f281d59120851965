"""A whole backend: it offers one model, `echo`, that answers with the words of the last message."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from aiadmin_core.backend import Backend
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.content import plain_text
from aiadmin_core.specs.model import EngineOptions, ModelFacts, ModelSpec
from aiadmin_core.specs.request import GenerateRequest
from aiadmin_core.text_engine import TextEngine

ECHO = ModelSpec(name="echo", digest="echo", format="other", files=())


class EchoEngine(TextEngine):
    """Limits, stop strings and usage are `TextEngine`'s; what is left to write is the text."""

    capabilities = Capabilities(sampling=frozenset({"temperature", "seed"}))  # no chance in an echo
    facts = ModelFacts(architecture="echo")

    async def pieces(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        for word in plain_text(request.messages[-1].content).split():
            await asyncio.sleep(0)  # others have their turn
            yield word + " "


class EchoBackend(Backend):
    """Opens the one model it offers."""

    name = "echo"

    def models(self) -> Sequence[ModelSpec]:
        return [ECHO]

    def suitability(self, model: ModelSpec) -> int | None:
        return 50 if model.digest == ECHO.digest else None

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> EchoEngine:
        return EchoEngine()


@hookimpl
def aiadmin_backends() -> Sequence[Backend]:
    return [EchoBackend()]
