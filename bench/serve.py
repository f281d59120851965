"""Measure OpenAI-compatible servers over HTTP: output tokens/s, time to first token, gaps between tokens.

`python bench/serve.py --url http://localhost:11434/v1 --model smollm2`; several `--url` are measured in turns, round by
round, each round beginning with another one, so that a machine whose speed drifts treats them alike; the first is
compared with the others, by the medians of the rounds' own ratios. `bench/run.py` starts a server and calls this.
"""

import argparse
import asyncio
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from loads import LOADS, different
from stream import Server

RUN = os.urandom(3).hex()
"""So that a server that runs on has seen none of this run's prompts."""
_salts = count(1)


@dataclass
class Round:
    """What one server did once."""

    url: str
    load: str
    n_clients: int
    round: int
    tokens_per_s: float
    """Of all clients together, prefill included."""
    ttft_ms: list[float]
    """Of each client, or of each turn of a conversation."""
    itl_ms: float
    """Median gap between two deltas of a stream."""
    itl_p99_ms: float


def run(
    urls: Sequence[str],
    model: str,
    load: str,
    clients: Sequence[int],
    n_tokens: int,
    rounds: int,
    note: Callable[[Round], None] = lambda _: None,
) -> list[Round]:
    """All rounds of one load."""
    results = []
    for n_clients in clients:
        for round_ in range(rounds):
            order = [*urls] if round_ % 2 == 0 else [*reversed(urls)]
            for url in order:
                results.append(asyncio.run(_measure(url, model, load, n_clients, n_tokens, round_)))
                note(results[-1])
    return results


async def _measure(url: str, model: str, load: str, n_clients: int, n_tokens: int, round_: int) -> Round:
    """Once, from the first question to the last text."""
    streams = await LOADS[load](Server(url, model), n_clients, n_tokens, f"{RUN}{next(_salts)}")
    wall_s = max(stream.ended_at for stream in streams) - min(stream.began_at for stream in streams)
    gaps = sorted(gap for stream in streams for gap in stream.gaps_s)
    return Round(
        url=url,
        load=load,
        n_clients=n_clients,
        round=round_,
        tokens_per_s=sum(stream.n_tokens for stream in streams) / wall_s,
        ttft_ms=[1000 * stream.first_s for stream in streams],
        itl_ms=1000 * statistics.median(gaps) if gaps else 0.0,
        itl_p99_ms=1000 * gaps[int(len(gaps) * 0.99)] if gaps else 0.0,
    )


async def warm_up(url: str, model: str, n_requests: int = 1) -> None:
    """Load the model, and ask it different things: with many, a cache that fills is full."""
    for n in range(n_requests):
        await different(Server(url, model), 1, 4, f"{RUN} warm {n}")


def table(results: Sequence[Round]) -> str:
    """Medians over the rounds, and the median ratio of the first server to each other one."""
    lines = ["load         clients  tokens/s  ratio   TTFT ms  ratio   ITL ms     p99  server"]
    for load, n_clients in dict.fromkeys((row.load, row.n_clients) for row in results):
        rows = [row for row in results if (row.load, row.n_clients) == (load, n_clients)]
        by_url = {url: [row for row in rows if row.url == url] for url in dict.fromkeys(row.url for row in rows)}
        first = next(iter(by_url.values()))
        for url, own in by_url.items():
            ratios = ("", "") if own is first else (f"{speed_ratio(first, own):.2f}", f"{ttft_ratio(first, own):.2f}")
            speed, ttft = statistics.median(row.tokens_per_s for row in own), statistics.median(map(_ttft, own))
            itl, p99 = (statistics.median(getattr(row, name) for row in own) for name in ("itl_ms", "itl_p99_ms"))
            lines.append(
                f"{load:<12} {n_clients:>7}  {speed:>8.1f} {ratios[0]:>6}  {ttft:>8.0f} {ratios[1]:>6}"
                f"  {itl:>7.1f} {p99:>7.1f}  {url}"
            )
    return "\n".join(lines)


def speed_ratio(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """How many times as many tokens/s, the median over the rounds."""
    return statistics.median(a.tokens_per_s / b.tokens_per_s for a, b in _pairs(ours, theirs))


def ttft_ratio(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """How many times as long until the first token, the median over the rounds."""
    return statistics.median(_ttft(a) / _ttft(b) for a, b in _pairs(ours, theirs))


def _pairs(ours: Sequence[Round], theirs: Sequence[Round]) -> list[tuple[Round, Round]]:
    by_round = {row.round: row for row in theirs}
    return [(row, by_round[row.round]) for row in ours if row.round in by_round]


def _ttft(row: Round) -> float:
    return statistics.median(row.ttft_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", action="append", required=True, help="base URL with /v1; repeat to compare")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--load", action="append", choices=LOADS, help="what to ask; may repeat (different)")
    parser.add_argument("--clients", default="1,4,8")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--after", type=int, default=1, help="different requests before the first round")
    parser.add_argument("--json", type=Path, help="also write the rounds here")
    options = parser.parse_args()
    for url in options.url:
        asyncio.run(warm_up(url, options.model, options.after))
    results: list[Round] = []
    for load in options.load or ["different"]:
        clients = [int(number) for number in options.clients.split(",")]
        results += run(options.url, options.model, load, clients, options.tokens, options.rounds)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in results], indent=2))


if __name__ == "__main__":
    main()
