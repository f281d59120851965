"""A backend that does what a test asks of it: crash, hang, fail, or echo. Put its folder on PYTHONPATH to install it.

`parameters["load"]` of the model says what opening it does, the first word of a prompt what answering it does.
"""

import asyncio
import ctypes
import os
import struct
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import cast

from aiadmin_core.backend import Health, ModelInfo
from aiadmin_core.errors import BadRequest, ContextLengthExceeded, EngineStopped, ModelLoadFailed
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Event, Finished, ReasoningDelta, TextDelta, Usage
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_core.specs.vectors import Scores, Vectors


def crash() -> None:
    """SIGSEGV on Unix, an access violation on Windows."""
    print("reading address zero", file=sys.stderr, flush=True)
    ctypes.string_at(0)


class MisbehavingEngine:
    """Echoes the words of a text."""

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        self.capabilities = Capabilities(
            inputs=frozenset({"chat", "text"}), protocols=frozenset({"tokenize", "embed", "score"}), max_choices=4
        )
        notes = ("opened in safe mode",) if options.safe_mode else ()
        self.facts = ModelFacts(architecture="misbehaving", n_ctx=options.n_ctx or 64, notes=notes)
        self.journal = Path(model.parameters["journal"]) if "journal" in model.parameters else None
        self.n_running = 0
        self.n_cancelled = 0
        self.n_completion_tokens = 0
        self.is_dead = False
        self.has_odd_stats = False

    def write(self, line: str) -> None:
        """A line in the journal, which a test reads."""
        if self.journal is not None:
            with self.journal.open("a") as file:
                file.write(line + "\n")

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        assert isinstance(request.input, TextInput)
        words = request.input.text.split()
        self.n_running += 1
        try:
            if words[0] == "refuse":
                raise ContextLengthExceeded(n_prompt=100, n_ctx=64)
            if words[0] == "bug":
                raise ZeroDivisionError("a private detail")
            if words[0] == "surrogate":
                yield TextDelta(request.id, "\ud800")
            if words[0] == "flood":
                for number in range(int(words[1])):
                    yield TextDelta(request.id, f"{number} ")
                    if number % 100 == 0:
                        await asyncio.sleep(0)
                yield Finished(request.id, "stop")
                return
            for word in words:
                yield TextDelta(request.id, word + " ")
                await asyncio.sleep(0)
            if words[0] == "crash":
                crash()
            if words[0] == "abort":
                os.abort()
            if words[0] == "die":
                self.is_dead = True
            if words[0] == "miscount":
                self.has_odd_stats = True
            if words[0] == "hang":
                await asyncio.Event().wait()
            if words[0] == "block":
                time.sleep(3600)  # noqa: ASYNC251 - an engine that blocks the event loop is what is tested
            if words[0] == "spoil":
                raise BadRequest("Spoilt.", hint="Send less.", param="messages")
            if words[0] == "think":
                yield ReasoningDelta(request.id, "hm")
            self.n_completion_tokens += len(words)
            yield Finished(request.id, "stop", Usage(completion_tokens=len(words)))
        except (GeneratorExit, asyncio.CancelledError):
            self.n_cancelled += 1
            self.write(f"cancelled {words[0]}")
            raise
        finally:
            self.n_running -= 1

    def stats(self) -> EngineStats:
        if self.is_dead:
            raise EngineStopped("The engine thread died.")
        if self.has_odd_stats:
            return cast(EngineStats, object())
        return EngineStats(
            n_running=self.n_running, n_cancelled=self.n_cancelled, n_completion_tokens=self.n_completion_tokens
        )

    async def tokenize(self, input: str, *, special: bool = False, around: bool = False) -> list[int]:
        return [ord(character) for character in input]

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        return [chr(token).encode() for token in tokens]

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        if inputs == ("hang",):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.write("cancelled embed")
                raise
        if inputs == ("cancel",):
            raise asyncio.CancelledError
        if inputs == ("huge",):
            return Vectors(data=bytes(65 * 1024 * 1024), n_dims=1, n_tokens=(1,))
        rows = [number for text in inputs for number in (1.0, float(len(text)))]
        return Vectors(
            data=struct.pack(f"<{len(rows)}f", *rows), n_dims=2, n_tokens=tuple(len(text) for text in inputs)
        )

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        data = struct.pack(f"<{len(documents)}f", *(text.count(query) for text in documents))
        return Scores(data=data, n_tokens=tuple(len(query) + len(text) for text in documents))

    async def close(self) -> None:
        self.write("closed")


class MisbehavingBackend:
    """Opens anything, or crashes."""

    name = "misbehaving"

    def suitability(self, model: ModelSpec) -> int | None:
        return 50 if model.format == "other" else None

    def inspect(self, path: Path) -> ModelInfo | None:
        return None

    def build_id(self) -> str:
        return os.environ.get("MISBEHAVING_BUILD", "misbehaving-1")

    def health(self) -> Health:
        return Health(ok=True, summary="misbehaves")

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> MisbehavingEngine:
        load = model.parameters.get("load", "echo")
        if "journal" in model.parameters:
            with Path(model.parameters["journal"]).open("a") as file:
                file.write("opening safely\n" if options.safe_mode else "opening\n")
        if load == "crash" and not options.safe_mode:
            crash()
        if load == "always crash":
            crash()
        if load == "exit":
            print("giving up", file=sys.stderr, flush=True)
            os._exit(3)
        if load == "hang":
            time.sleep(3600)
        if load == "refuse":
            raise ModelLoadFailed("The file is no model.", hint="Pull it again.")
        if load == "bug":
            raise ZeroDivisionError("division by zero")
        if "wait for" in model.parameters:  # a gate: the test creates the file
            while not Path(model.parameters["wait for"]).exists():
                time.sleep(0.01)
        return MisbehavingEngine(model, options)


@hookimpl
def aiadmin_backends() -> list[MisbehavingBackend]:
    return [MisbehavingBackend()]
