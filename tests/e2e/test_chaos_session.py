"""Everything at once, for as long as `--minutes` says: whatever happens, a request ends in an answer or a named error,
and nothing is left behind."""

import asyncio
import json
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("chaos session")]
N_CLIENTS = 10
QUEUE = 16
WORST_CASE_S = 120
"""What any request may take: the machine is as busy as it can be."""
SAID = {400, 404, 499, 500, 502, 503, 504}
"""Statuses that may come with an error's envelope. A 500 must carry a code as well."""
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "it",
    "rains",
    "and",
    "nobody",
    "counts",
    "how",
    "often",
    "this",
    "was",
    "written",
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def minutes(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("minutes"))


@dataclass
class Session:
    """A server under fire, and what became of the requests."""

    server: Any
    rng: random.Random
    http: httpx.AsyncClient
    ends: Counter[str] = field(default_factory=Counter)
    unnamed: list[str] = field(default_factory=list)
    """Requests that ended in neither an answer nor a named error."""

    def body(self, **more: Any) -> dict[str, Any]:
        n_words = self.rng.choice([3, 3, 10, 60, 400])
        text = " ".join(self.rng.choices(WORDS, k=n_words))
        model = self.rng.choice(["smollm2", "gpt-4o", "small"])
        limit = self.rng.choice([1, 8, 30]) if model != "small" else 3
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": limit}
        if self.rng.random() < 0.3:
            body["seed"] = 1
        return body | more

    async def whole(self) -> None:
        more: dict[str, Any] = self.rng.choice(
            [
                {},
                {"n": 3},
                {"logprobs": True, "top_logprobs": 5},
                {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
                {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], "max_tokens": 60},
                {"stop": ["e"]},
            ]
        )
        answer = await self.http.post("/v1/chat/completions", json=self.body(**more))
        self.tell(answer.status_code, answer.json())

    async def stream(self, *, leave_after: int | None = None) -> None:
        body = self.body(stream=True, max_tokens=self.rng.choice([4, 40]))
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                self.tell(answer.status_code, json.loads(await answer.aread()))
                return
            n, last = 0, ""
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                n, last = n + 1, line.removeprefix("data: ")
                if n == leave_after:
                    self.ends["left"] += 1
                    return
                if last.startswith('{"error"'):
                    self.tell(502, json.loads(last))
                    return
            if last == "[DONE]":
                self.ends["200"] += 1
            else:
                self.unnamed.append(f"a stream ended with {last[:200]!r}")

    async def leave(self) -> None:
        await self.stream(leave_after=self.rng.randrange(1, 5))

    async def give_up(self) -> None:
        try:
            await self.http.post("/v1/chat/completions", json=self.body(max_tokens=200), timeout=self.rng.random())
        except httpx.TimeoutException:
            self.ends["left"] += 1

    async def be_wrong(self) -> None:
        body = self.rng.choice(
            [
                {"model": "nobody-has-this", "messages": [{"role": "user", "content": "x"}]},
                {"model": "smollm2", "messages": "x"},
                {"model": "smollm2", "messages": [{"role": "user", "content": "word " * 20_000}]},
                {"model": "smollm2", "messages": [], "temperature": 99},
            ]
        )
        answer = await self.http.post("/v1/chat/completions", json=body)
        assert answer.status_code != 200
        self.tell(answer.status_code, answer.json())

    async def complete(self) -> None:
        body = {"model": "smollm2", "prompt": ["once", "upon a time"], "max_tokens": 5, "echo": True}
        answer = await self.http.post("/v1/completions", json=body)
        self.tell(answer.status_code, answer.json())

    async def embed(self) -> None:
        answer = await self.http.post("/v1/embeddings", json={"model": "smollm2", "input": WORDS[:5]})
        self.tell(answer.status_code, answer.json())

    def tell(self, status: int, content: Any) -> None:
        if status == 200 and "error" not in content:
            self.ends["200"] += 1
            return
        error = content.get("error") or {}
        named = status in SAID and isinstance(error.get("message"), str) and (error.get("code") or error.get("type"))
        self.ends[f"{status} {error.get('code')}"] += 1
        if not named or (status == 500 and not error.get("code")):
            self.unnamed.append(f"{status}: {str(content)[:300]}")

    async def client(self, until: float) -> None:
        doings: list[Callable[[], Awaitable[None]]] = [self.whole, self.whole, self.stream, self.stream]
        doings += [self.leave, self.give_up, self.be_wrong, self.complete, self.embed]
        while time.monotonic() < until:
            doing = self.rng.choice(doings)
            try:
                await doing()
            except (httpx.HTTPError, ValueError) as error:
                self.unnamed.append(f"{doing.__name__}: {error!r}")

    async def havoc(self, until: float) -> None:
        """What an unlucky administrator, a kernel and a network do."""
        doings = [self.kill, self.suspend, self.stop, self.rename, self.flood, self.half_open]
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(0.5, 3))
            await self.rng.choice(doings)()

    async def runners(self) -> list[psutil.Process]:
        models = (await self.http.get("/api/ps")).json()["models"]
        return [
            psutil.Process(model["pid"]) for model in models if model.get("pid") and psutil.pid_exists(model["pid"])
        ]

    async def kill(self) -> None:
        for runner in (await self.runners())[:1]:
            os.kill(runner.pid, self.rng.choice([signal.SIGKILL, signal.SIGSEGV]))

    async def suspend(self) -> None:
        for runner in (await self.runners())[:1]:
            os.kill(runner.pid, signal.SIGSTOP)
            await asyncio.sleep(self.rng.uniform(0.2, 1.5))
            if runner.is_running():
                os.kill(runner.pid, signal.SIGCONT)

    async def stop(self) -> None:
        await self.http.post("/api/stop", json={"model": self.rng.choice(["smollm2", "small"])})

    async def rename(self) -> None:
        await self.http.request("DELETE", "/api/delete", json={"model": "gpt-4o"})
        copied = await self.http.post("/api/copy", json={"source": "smollm2", "destination": "gpt-4o"})
        assert copied.status_code == 200, copied.text

    async def flood(self) -> None:
        await asyncio.gather(*(self.whole() for _ in range(3 * QUEUE)), return_exceptions=True)

    async def half_open(self) -> None:
        host, port = self.server.url.removeprefix("http://").split(":")
        for _ in range(5):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Le")


async def test_a_server_under_fire_answers_everybody_and_leaves_nothing_behind(
    product: Any, tiny_mlx: Path, tmp_path: Path, minutes: float
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    mine = product.clone(tmp_path / "state")
    mine.run("pull", str(tiny_mlx), "--as", "small")
    mine.run("cp", "smollm2", "gpt-4o")
    with mine.serve(AIADMIN_MAX_QUEUE=str(QUEUE), AIADMIN_NUM_PARALLEL="8", AIADMIN_LOG_FORMAT="json") as server:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=WORST_CASE_S, limits=limits) as http:
            session = Session(server, random.Random(seed), http)
            process = psutil.Process(server.process.pid)
            calm_from = time.monotonic() + minutes * 60 * 0.6
            until = time.monotonic() + minutes * 60
            havoc = asyncio.create_task(session.havoc(calm_from))
            clients = [asyncio.create_task(session.client(until)) for _ in range(N_CLIENTS)]
            await havoc
            settled = await _resident_after(process, min(120.0, minutes * 60 * 0.1))
            await asyncio.gather(*clients)

            print(dict(session.ends))
            assert not session.unnamed, session.unnamed[:10]
            assert session.ends["200"] > 10 * minutes
            server.eventually(lambda it: all(model["n_active"] == 0 for model in it.ps()), timeout_s=60)
            server.eventually(lambda it: it.metric("aiadmin_engine_running") == 0, timeout_s=60)
            assert server.metric("aiadmin_engine_waiting") == 0
            assert server.metric("aiadmin_active_requests") == 0
            for name in ("smollm2", "small"):
                await http.post("/api/stop", json={"model": name})
        server.eventually(lambda it: it.ps() == [] and not process.children(recursive=True), timeout_s=60)
        server.eventually(lambda _: not [one for one in process.net_connections() if one.status == "ESTABLISHED"])
        if minutes > 4:
            assert process.memory_info().rss < 1.05 * settled, f"{process.memory_info().rss} after {settled}"
        files = [one.path for one in process.open_files() if "runner" in one.path]
        assert files == [], "logs of runners that are gone"
        assert not [line for line in server.output if "Traceback" in line]


async def _resident_after(process: psutil.Process, delay_s: float) -> int:
    await asyncio.sleep(delay_s)
    return int(process.memory_info().rss)
