"""The smallest backend: it answers with the words of the last message. For tests, and to copy from."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from pathlib import Path

from ..backend import Health, ModelInfo
from ..specs.capabilities import Capabilities
from ..specs.content import plain_text
from ..specs.events import Event, Finished, FinishReason, Started, TextDelta, Usage
from ..specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec
from ..specs.request import GenerateRequest
from ..text.stop import StopStrings


class EchoBackend:
    """Opens anything."""

    name = "echo"

    def suitability(self, model: ModelSpec) -> int | None:
        return 1 if model.format == "other" else None

    def inspect(self, path: Path) -> ModelInfo | None:  # noqa: ARG002 - it reads no format
        return None

    def build_id(self) -> str:
        return ""

    def health(self) -> Health:
        return Health(ok=True, summary="echo: always well")

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> "EchoEngine":  # noqa: ARG002 - nothing to load
        return EchoEngine()


class EchoEngine:
    """One word is one token. `delay_s` is how long each takes, for tests that watch a stream."""

    capabilities = Capabilities()
    facts = ModelFacts(architecture="echo")

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self._n_running = 0
        self._n_steps = 0

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        words = plain_text(request.messages[-1].content).split()
        n_prompt = sum(len(plain_text(message.content).split()) for message in request.messages)
        most = request.sampling.max_tokens or len(words)
        stops = StopStrings(request.sampling.stop)
        n_tokens = 0
        self._n_running += 1
        try:
            yield Started(request.id, n_prompt)
            for word in itertools.islice(words, most):
                await asyncio.sleep(self._delay_s)
                n_tokens += 1
                self._n_steps += 1
                if text := stops.feed(word + " "):
                    yield TextDelta(request.id, text)
                if stops.matched is not None:
                    break
            if text := stops.flush():
                yield TextDelta(request.id, text)
            reason: FinishReason = "length" if n_tokens < len(words) and stops.matched is None else "stop"
            usage = Usage(prompt_tokens=n_prompt, completion_tokens=n_tokens)
            yield Finished(request.id, reason, usage, 0, stops.matched)
        finally:
            self._n_running -= 1

    def stats(self) -> EngineStats:
        return EngineStats(n_running=self._n_running, n_steps=self._n_steps)

    async def close(self) -> None:
        """Nothing is held."""
