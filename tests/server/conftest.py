"""A real server on a free port over a small engine that does what a test tells it."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from aiadmin_core.errors import ModelNotFound
from aiadmin_core.plugins import Plugins, load_plugins
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Event, Finished, Started, TextDelta, Usage
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec
from aiadmin_core.specs.request import GenerateRequest
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_core.specs.vectors import Scores, Vectors
from aiadmin_server.apis import builtin as builtin_apis
from aiadmin_server.app import LIMITS, Limits, Server, bind, create_app, uvicorn_config
from aiadmin_server.settings import Settings

ABLE = Capabilities(
    inputs=frozenset({"chat", "text", "tokens"}),
    modalities=frozenset({"text", "image", "audio"}),
    sampling=frozenset(SamplingParams.__struct_fields__),
    constraints=frozenset({"json_object", "json_schema"}),
    max_choices=8,
    max_logprobs=20,
    scores_prompts=True,
    tools=True,
    reasoning=True,
    suffix=True,
    predictions=True,
    protocols=frozenset({"embed", "tokenize"}),
)
"""Everything that OpenAI's fields can ask for."""


async def three_words(request: GenerateRequest) -> AsyncGenerator[Event, None]:
    """Each choice says "one two three"."""
    yield Started(request.id, 5)
    for choice in range(request.n):
        for word in ("one", " two", " three"):
            yield TextDelta(request.id, word, choice=choice)
        usage = Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=2)
        yield Finished(request.id, "stop", usage, choice=choice)


async def counted(inputs: Sequence[str | tuple[int, ...]]) -> Vectors:
    """A vector of three for each input: 0.6, 0 and -0.8, a token for each character."""
    data = struct.pack("<3f", 0.6, 0.0, -0.8) * len(inputs)
    return Vectors(data=data, n_dims=3, n_tokens=tuple(map(len, inputs)))


Embedding = Callable[[Sequence[str | tuple[int, ...]]], Awaitable[Vectors]]
Script = Callable[[GenerateRequest], AsyncGenerator[Event, None]]


@dataclass
class FakeEngine:
    """Plays a script, and tells when it was asked and when it was closed."""

    script: Script = three_words
    capabilities: Capabilities = ABLE
    facts: ModelFacts = field(default_factory=lambda: ModelFacts(n_ctx=4096))
    engine_stats: EngineStats = field(default_factory=EngineStats)
    requests: list[GenerateRequest] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    embedding: Embedding = counted
    embedded: list[tuple[Sequence[str | tuple[int, ...]], bool]] = field(default_factory=list)
    """Inputs, and whether they may be cut, of each call of `embed`."""

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        self.embedded.append((inputs, truncate))
        self.begun.set()
        try:
            return await self.embedding(inputs)
        finally:
            self.closed.set()

    scored: list[tuple[str, Sequence[str], bool]] = field(default_factory=list)
    """Query, documents, and whether they may be cut, of each call of `score`."""

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        """The longer a document, the better; a token for each character."""
        self.scored.append((query, documents, truncate))
        data = struct.pack(f"<{len(documents)}f", *(len(document) / 64 for document in documents))
        return Scores(data=data, n_tokens=tuple(len(query) + len(document) for document in documents))

    tokenized: list[tuple[str | GenerateRequest, dict[str, bool]]] = field(default_factory=list)
    """What was to be tokenized, and how, of each call."""

    async def tokenize(self, input: str | GenerateRequest, **how: bool) -> list[int]:
        """A token for each byte."""
        self.tokenized.append((input, how))
        return list(input.encode()) if isinstance(input, str) else [1, 2, 3]

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        return [bytes([token]) for token in tokens]

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        self.begun.set()
        try:
            async with contextlib.aclosing(self.script(request)) as events:
                async for event in events:
                    yield event
        finally:
            self.closed.set()

    @property
    def request(self) -> GenerateRequest:
        """The only one it was asked."""
        (request,) = self.requests
        return request

    def stats(self) -> EngineStats:
        return self.engine_stats

    async def close(self) -> None:
        pass


@dataclass
class FakeRouter:
    """Serves one model, under any of its names; `loading` can hold it back."""

    engine: FakeEngine
    names: tuple[str, ...] = ("echo", "gpt-4o")
    loading: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    n_leases: int = 0
    keep_alive_s: float | None = None
    lease_asked: dict[str, Any] = field(default_factory=dict)
    """What else the last lease was asked with."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request had its first event."""
    problems: tuple[str, ...] = ()
    n_deaths: dict[str, int] = field(default_factory=dict)
    models: list[Any] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    gone: list[Any] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.loading.set()

    @contextlib.asynccontextmanager
    async def lease(self, name: str, keep_alive_s: float | None = None, **asked: Any) -> AsyncIterator[SimpleNamespace]:
        if name not in self.names:
            raise ModelNotFound(name)
        self.n_leases += 1
        self.keep_alive_s = keep_alive_s
        self.lease_asked = asked
        self.asked.set()
        try:
            await self.loading.wait()
            spec = ModelSpec(name="echo:latest", digest="sha256:1", format="other", files=())
            yield SimpleNamespace(
                engine=self.engine,
                spec=spec,
                requested=name,
                resolved="echo:latest",
                backend="echo",
                load_s=0.0,
                defaults={},
                system=None,
                stop=(),
                adapters=(),
                fell_back="",
                falls_back=False,
                failures=(),
                answers_as=name,
                model="echo",
                begun=self.begun.set,
            )
        finally:
            self.n_leases -= 1
            self.released.set()

    def loaded(self) -> list[Any]:
        return self.models

    def departed(self) -> list[Any]:
        return self.gone

    def fallbacks(self) -> list[Any]:
        return []

    async def refresh(self) -> None:
        pass

    async def unload(self, name: str) -> bool:
        self.stopped.append(name)
        return name in self.names

    def deaths(self) -> dict[str, int]:
        return self.n_deaths

    def health(self) -> tuple[str, ...]:
        return self.problems

    async def close(self) -> None:
        self.closed = True


@dataclass
class Served:
    """A running server and two clients of it."""

    url: str
    port: int
    engine: FakeEngine
    router: FakeRouter
    http: httpx.AsyncClient
    openai: openai.AsyncOpenAI
    stop: Callable[[], None]
    """What a signal does."""

    async def chat(self, **fields: Any) -> httpx.Response:
        """Post a chat completion; the least a request needs is filled in."""
        body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]} | fields
        return await self.http.post("/v1/chat/completions", json=body)

    async def complete(self, **fields: Any) -> httpx.Response:
        """The same for a completion."""
        return await self.http.post("/v1/completions", json={"model": "echo", "prompt": "hi"} | fields)

    async def embed(self, **fields: Any) -> httpx.Response:
        """The same for embeddings."""
        return await self.http.post("/v1/embeddings", json={"model": "echo", "input": "hi"} | fields)


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(tmp_path: Path, openai_description: Any) -> Serve:
    """`async with serve(script=..., capabilities=..., plugins=[(name, object)], limits=..., **settings) as server`.

    Whatever OpenAI's paths answer, errors and chunks too, is checked against OpenAI's own description, where that is
    beside this checkout.
    """
    checks = [openai_description.check_response] if openai_description.SPEC.exists() else []

    @contextlib.asynccontextmanager
    async def serving(
        *,
        script: Script = three_words,
        embedding: Embedding = counted,
        capabilities: Capabilities = ABLE,
        plugins: list[tuple[str, Any]] | None = None,
        limits: Limits = LIMITS,
        **settings: Any,
    ) -> AsyncIterator[Served]:
        engine = FakeEngine(script=script, embedding=embedding, capabilities=capabilities)
        router = FakeRouter(engine)
        chosen = Settings(**{"port": 0, "models": tmp_path / "models", "state": tmp_path} | settings)
        app = create_app(chosen, plugins=only(plugins or []), router=router, limits=limits)
        listener = bind(chosen)
        ready = asyncio.Event()
        server = Server(
            uvicorn_config(app, chosen, limits), lambda host, port: ready.set(), shutdown_s=limits.shutdown_s
        )
        running = asyncio.create_task(server.serve(sockets=[listener]))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), "the server did not start"
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        try:
            async with (
                httpx.AsyncClient(base_url=url, timeout=30) as http,
                openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
            ):
                for one in (http, client._client):
                    one.event_hooks = {"response": checks}
                stop = partial(setattr, server, "should_exit", True)
                yield Served(url=url, port=port, engine=engine, router=router, http=http, openai=client, stop=stop)
        finally:
            server.should_exit = True
            await running
            listener.close()

    return serving


def only(builtin: list[tuple[str, Any]]) -> Plugins:
    """These plugins and our own APIs, and no installed ones."""
    return load_plugins(builtin=[("apis", builtin_apis), *builtin], only=[])
