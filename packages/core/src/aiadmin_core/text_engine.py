"""An `Engine` for whatever makes an answer as text, piece by piece: a subclass writes `pieces`, and the rest is here.

What has a tokenizer and logits is better off as a `backend.TokenEngine`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from .specs.capabilities import Capabilities
from .specs.content import plain_text
from .specs.events import Event, Finished, FinishReason, Started, TextDelta, Usage
from .specs.model import EngineStats, ModelFacts
from .specs.request import GenerateRequest, TextInput
from .text.stop import StopStrings


class TextEngine:
    """Keeps to `max_tokens` and stop strings, counts, and cancels by closing `pieces`. One choice a request."""

    capabilities = Capabilities()
    facts = ModelFacts()
    _n_running = 0
    _n_steps = 0

    def pieces(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        """The answer; each piece counts as a token, and is given out as soon as it is certain to be no stop string.
        Await between them, so that others have their turn; work that blocks belongs on a thread."""
        raise NotImplementedError

    def n_prompt_tokens(self, request: GenerateRequest) -> int:
        """What `usage` says of the prompt: words, unless a subclass knows better."""
        if isinstance(request.input, TextInput):
            return len(request.input.text.split())
        return sum(len(plain_text(message.content).split()) for message in request.messages)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """See `backend.Engine`."""
        stops = StopStrings(request.sampling.stop)
        reason: FinishReason = "stop"
        n_prompt, n_tokens = self.n_prompt_tokens(request), 0
        self._n_running += 1
        try:
            yield Started(request.id, n_prompt)
            async with aclosing(self.pieces(request)) as pieces:
                async for piece in pieces:
                    n_tokens += 1
                    self._n_steps += 1
                    if text := stops.feed(piece):
                        yield TextDelta(request.id, text)
                    if stops.matched is not None:
                        break
                    if n_tokens == request.sampling.max_tokens:
                        reason = "length"
                        break
            if text := stops.flush():
                yield TextDelta(request.id, text)
            usage = Usage(prompt_tokens=n_prompt, completion_tokens=n_tokens)
            yield Finished(request.id, reason, usage, stop=stops.matched)
        finally:
            self._n_running -= 1

    def stats(self) -> EngineStats:
        """See `backend.Engine`."""
        return EngineStats(n_running=self._n_running, n_steps=self._n_steps)

    async def close(self) -> None:
        """See `backend.Engine`. Nothing is held here."""
