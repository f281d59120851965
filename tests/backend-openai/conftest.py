"""A real HTTP server that answers as a test scripts it, and the engine that is pointed at it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import Event
from aiadmin_core.specs.model import ModelFacts, ModelSpec
from aiadmin_core.specs.request import ChatInput, GenerateRequest
from aiadmin_openai.engine import OpenAIEngine
from aiadmin_openai.remote import RemoteModel

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}


@dataclass
class Seen:
    """A request as the upstream got it."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """The upstream's side of one request."""

    send: Callable[[dict[str, Any]], Awaitable[None]]
    receive: Callable[[], Awaitable[dict[str, Any]]]
    request: Seen
    started: bool = False

    async def start(self, content_type: str = "text/event-stream") -> None:
        if not self.started:
            headers = [(b"content-type", content_type.encode())]
            await self.send({"type": "http.response.start", "status": 200, "headers": headers})
            self.started = True

    async def raw(self, data: bytes) -> None:
        await self.start()
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def event(self, data: Any) -> None:
        await self.raw(f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())

    async def delta(self, index: int = 0, finish: str | None = None, **delta: Any) -> None:
        await self.event({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

    async def finish(self, usage: dict[str, Any] | None = None, *, reason: str = "stop") -> None:
        await self.delta(finish=reason)
        await self.event({"choices": [], "usage": usage or USAGE})
        await self.end()

    async def end(self) -> None:
        await self.raw(b"data: [DONE]\n\n")
        await self.send({"type": "http.response.body", "body": b""})

    async def say(self, *words: str, usage: dict[str, Any] | None = None) -> None:
        for word in words:
            await self.delta(content=word)
        await self.finish(usage)

    async def status(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": data})

    async def until_disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def drop(self) -> None:
        """Uvicorn cuts the connection."""
        raise ConnectionAbortedError("scripted")


Script = Callable[[Reply], Awaitable[None]]


async def hello(reply: Reply) -> None:
    await reply.say("Hello", " world")


@dataclass
class Upstream:
    """An OpenAI-compatible server with a script for each request; the last one is repeated."""

    url: str = ""
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "llama3"}])
    scripts: list[Script] = field(default_factory=lambda: [hello])
    seen: list[Seen] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    """Other names of its models."""
    listing: tuple[int, Any] | None = None
    """Status and body of `/models`, where it is not simply the models."""
    client: Any = None
    """Address of the last connection."""
    checked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when `/models` was asked for."""

    @property
    def host(self) -> str:
        return self.url.split("/")[2]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.client = tuple(scope["client"])
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["method"] == "GET":
            self.checked.set()
            known = scope["path"].rpartition("/")[2] in ["models", *self.unlisted]
            status, data = self.listing or (200 if known else 404, {"data": self.models})
            return await Reply(send, receive, Seen(scope["path"], headers, None)).status(status, data)
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append(Seen(scope["path"], headers, json.loads(body)))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        return await script(Reply(send, receive, self.seen[-1]))


class QuietServer(uvicorn.Server):
    """Runs beside the test, on its event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(*scripts: Script, port: int = 0) -> AsyncIterator[Upstream]:
    upstream = Upstream()
    if scripts:
        upstream.scripts = list(scripts)
    config = uvicorn.Config(upstream, port=port, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
    server = QuietServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the upstream did not start"
        await asyncio.sleep(0.005)
    upstream.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    try:
        yield upstream
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def opened(*urls: str, key: str = "", manifest: Any = None, **options: Any) -> AsyncIterator[OpenAIEngine]:
    remote = RemoteModel(upstreams=urls, model="llama3", **options)
    spec = ModelSpec(name="far:latest", digest="", format="remote", files=(), **(manifest or {}))
    engine = OpenAIEngine(remote, spec, key=key, facts=ModelFacts(device="remote"))
    try:
        yield engine
    finally:
        await engine.close()


def asking(text: str = "Hi", **fields: Any) -> GenerateRequest:
    messages = (Message(role="user", content=(TextPart(text),)),)
    return GenerateRequest(**{"id": 1, "input": ChatInput(messages=messages)} | fields)


async def collected(engine: OpenAIEngine, request: GenerateRequest | None = None) -> list[Event]:
    return [event async for event in engine.generate(request or asking())]


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[Upstream]]:
    """`async with serve(script, ...) as upstream`: a real server that plays one script after the other."""
    return serving


@pytest.fixture
def open_engine() -> Callable[..., AbstractAsyncContextManager[OpenAIEngine]]:
    """`async with open_engine(url, ...) as engine`."""
    return opened


@pytest.fixture
def ask() -> Callable[..., GenerateRequest]:
    """`ask("Hi", n=2)`: a chat request."""
    return asking


@pytest.fixture
def collect() -> Callable[..., Awaitable[list[Event]]]:
    """`await collect(engine, request)`: all events."""
    return collected


@pytest.fixture
def nobody() -> str:
    """The URL of a server that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
