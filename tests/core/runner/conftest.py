"""A runner process of the misbehaving plugin, driven by hand over the transport."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiadmin_core.runner import frames, transport
from aiadmin_core.runner.client import RemoteEngine, greet
from aiadmin_core.runner.messages import Launch, Reply
from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput

PLUGIN = Path(__file__).parents[2] / "plugins" / "misbehaving"


@dataclass
class Runner:
    """A started runner and its connection."""

    process: asyncio.subprocess.Process
    connection: transport.Connection[Reply]

    async def engine(self, **options: Any) -> RemoteEngine:
        return RemoteEngine(self.connection, await greet(self.connection), **options)


StartRunner = Callable[..., AbstractAsyncContextManager[Runner]]


@contextlib.asynccontextmanager
async def _start(
    plugin: str = "misbehaving",
    *,
    options: EngineOptions | None = None,
    prefer_unix: bool = True,
    site: Path | None = None,
    dialects: tuple[str, ...] = (),
    **parameters: Any,
) -> AsyncGenerator[Runner, None]:
    """`site` is a folder of more plugins."""
    async with transport.listen(frames.REPLIES, prefer_unix=prefer_unix) as listener:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aiadmin_core.runner",
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [PLUGIN, *([site] if site else [])]))},
        )
        try:
            launch = Launch(
                address=listener.address,
                secret=listener.secret,
                plugin=plugin,
                backend="misbehaving",
                model=ModelSpec(name="m:latest", digest="sha256:0", format="other", files=(), parameters=parameters),
                options=options or EngineOptions(),
                dialects=dialects,
            )
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(launch) + b"\n")
            yield Runner(process, await listener.accept())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture
def start_runner() -> StartRunner:
    """Start a runner whose model has these parameters; it is killed when the context is left."""
    return _start


@pytest.fixture
def ask() -> Callable[..., GenerateRequest]:
    """A request to continue a text."""

    def make(text: str, id: int = 7) -> GenerateRequest:
        return GenerateRequest(id=id, input=TextInput(text=text))

    return make
