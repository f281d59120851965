"""Measure an OpenAI-compatible server over HTTP: output tokens/s, time to first token, gaps between tokens.

`python bench/serve.py --url http://localhost:11434/v1 --model smollm2`; several `--url` are measured in turn, round by
round, so that a machine whose speed drifts treats them alike. `bench/run.py` starts a server and calls this.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

PROMPT = "Write a long story about a lighthouse keeper, the sea, and the ships that pass by at night. " * 3


@dataclass
class Stream:
    """One client's stream, in seconds since it was asked for."""

    first_s: float = 0.0
    last_s: float = 0.0
    n_tokens: int = 0
    gaps_s: list[float] = field(default_factory=list)


@dataclass
class Result:
    """One server at one number of clients, over all rounds."""

    url: str
    n_clients: int
    tokens_per_s: float
    """Of all clients together, prefill included."""
    ttft_ms: float
    """Median."""
    itl_ms: float
    """Median gap between two deltas of a stream."""
    itl_p99_ms: float


async def one_stream(client: httpx.AsyncClient, url: str, model: str, n_tokens: int, salt: str) -> Stream:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"{salt} {PROMPT}"}],
        "max_tokens": n_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    result = Stream()
    began = previous = time.perf_counter()
    async with client.stream("POST", f"{url.rstrip('/')}/chat/completions", json=body) as response:
        if response.status_code != 200:
            sys.exit(f"{url}: {response.status_code} {(await response.aread()).decode()}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk: dict[str, Any] = json.loads(line[6:])
            now = time.perf_counter()
            if usage := chunk.get("usage"):
                result.n_tokens = usage["completion_tokens"]
            if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                if result.first_s:
                    result.gaps_s.append(now - previous)
                else:
                    result.first_s = now - began
                previous = now
    result.last_s = previous - began
    return result


async def measure(url: str, model: str, n_clients: int, n_tokens: int, round_: int) -> tuple[float, list[Stream]]:
    """Seconds of one round, and its streams. Every prompt begins differently, so that no prefix is shared."""
    async with httpx.AsyncClient(timeout=600, headers={"authorization": "Bearer bench"}) as client:
        began = time.perf_counter()
        streams = await asyncio.gather(
            *(one_stream(client, url, model, n_tokens, f"{round_}.{number}") for number in range(n_clients))
        )
        return time.perf_counter() - began, list(streams)


def run(urls: list[str], model: str, clients: list[int], n_tokens: int, rounds: int) -> list[Result]:
    for url in urls:
        asyncio.run(measure(url, model, 1, 4, -1))  # load the model
    results = []
    for n_clients in clients:
        collected: dict[str, list[tuple[float, list[Stream]]]] = {url: [] for url in urls}
        for round_ in range(rounds):
            for url in urls:
                collected[url].append(asyncio.run(measure(url, model, n_clients, n_tokens, round_)))
        results.extend(summary(url, n_clients, collected[url]) for url in urls)
    return results


def summary(url: str, n_clients: int, rounds: list[tuple[float, list[Stream]]]) -> Result:
    streams = [stream for _, many in rounds for stream in many]
    gaps = sorted(gap for stream in streams for gap in stream.gaps_s)
    return Result(
        url=url,
        n_clients=n_clients,
        tokens_per_s=statistics.median(sum(stream.n_tokens for stream in many) / wall for wall, many in rounds),
        ttft_ms=1000 * statistics.median(stream.first_s for stream in streams),
        itl_ms=1000 * statistics.median(gaps),
        itl_p99_ms=1000 * gaps[int(len(gaps) * 0.99)],
    )


def table(results: list[Result]) -> str:
    lines = [f"{'clients':>7}  {'tokens/s':>8}  {'TTFT ms':>8}  {'ITL ms':>7}  {'p99 ms':>7}  server"]
    lines += [
        f"{row.n_clients:>7}  {row.tokens_per_s:>8.1f}  {row.ttft_ms:>8.0f}  {row.itl_ms:>7.1f}  {row.itl_p99_ms:>7.1f}"
        f"  {row.url}"
        for row in results
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", action="append", required=True, help="base URL with /v1; repeat to compare")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--clients", default="1,4,8")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    clients = [int(number) for number in options.clients.split(",")]
    results = run(options.url, options.model, clients, options.tokens, options.rounds)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in results], indent=2))


if __name__ == "__main__":
    main()
