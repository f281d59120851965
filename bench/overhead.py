"""What a token costs beside computing it: CPU time of the server's process and of the runner's event loop.

`python bench/overhead.py` measures this installation; `--aiadmin PATH` (repeated) the `aiadmin` commands of others, in
turns, so that a machine that drifts treats them alike. CPU time hardly depends on what else runs. Linux only: it reads
`/proc/PID/task/TID/sched`, which is exact where `stat` counts in hundredths of a second.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import serve

AIADMIN = str(Path(sys.executable).with_name("aiadmin"))


@dataclass(frozen=True)
class Row:
    """One installation at one number of streams: microseconds of CPU a token, medians over the rounds."""

    aiadmin: str
    n_streams: int
    server_us: float
    """Every thread of the server's process."""
    runner_us: float
    """The runner's main thread, which is its event loop; the others compute, or work once a request."""


@dataclass(frozen=True)
class Serving:
    """A started server with the model loaded."""

    aiadmin: str
    url: str
    server: int
    runner: int

    def cpu_us(self) -> tuple[float, float]:
        """Spent so far by the server and by the runner's event loop."""
        threads = Path(f"/proc/{self.server}/task").glob("*/sched")
        return sum(map(_spent_us, threads)), _spent_us(Path(f"/proc/{self.runner}/task/{self.runner}/sched"))


def _spent_us(sched: Path) -> float:
    (ms,) = re.findall(r"^se\.sum_exec_runtime\s*:\s*([\d.]+)$", sched.read_text(), re.MULTILINE)
    return 1000 * float(ms)


@contextmanager
def serving(aiadmin: str, model: str, environment: dict[str, str]) -> Iterator[Serving]:
    process = subprocess.Popen([aiadmin, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = next(found[0] for line in process.stdout if (found := re.search(r"http://[\w.]+:\d+", line)))
        asyncio.run(serve.measure(f"{url}/v1", model, 1, 4, -1))  # load the model
        (loaded,) = httpx.get(f"{url}/api/ps").json()["models"]
        yield Serving(aiadmin, url, process.pid, loaded["pid"])
    finally:
        process.terminate()
        process.wait(20)


def one_round(target: Serving, model: str, n_streams: int, n_tokens: int, round_: int) -> tuple[float, float]:
    """Microseconds a token of the server and of the runner's event loop."""
    before = target.cpu_us()
    _, streams = asyncio.run(serve.measure(f"{target.url}/v1", model, n_streams, n_tokens, round_))
    after = target.cpu_us()
    n = sum(stream.n_tokens for stream in streams)
    server, runner = ((late - early) / n for early, late in zip(before, after, strict=True))
    return server, runner


def run(commands: list[str], model: str, streams: list[int], n_tokens: int, rounds: int, state: str) -> list[Row]:
    rows = []
    for n_streams in streams:
        taken: dict[str, list[tuple[float, float]]] = {command: [] for command in commands}
        for round_ in range(rounds):
            for command in commands:  # one server at a time: two models in memory would share the caches
                with serving(command, model, os.environ | {"AIADMIN_STATE": state}) as target:
                    one_round(target, model, n_streams, 16, -2)
                    taken[command].append(one_round(target, model, n_streams, n_tokens, round_))
        for command, many in taken.items():
            server, runner = (statistics.median(values) for values in zip(*many, strict=True))
            rows.append(Row(command, n_streams, server, runner))
    return rows


def table(rows: list[Row]) -> str:
    lines = [f"{'streams':>7}  {'server us':>9}  {'runner us':>9}  {'together':>8}  installation"]
    lines += [
        f"{row.n_streams:>7}  {row.server_us:>9.0f}  {row.runner_us:>9.0f}  {row.server_us + row.runner_us:>8.0f}"
        f"  {row.aiadmin}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aiadmin", action="append", help="the command of an installation; repeat to compare")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--streams", default="1,8")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    commands = options.aiadmin or [AIADMIN]
    with tempfile.TemporaryDirectory() as folder:
        state = os.environ.get("AIADMIN_STATE", folder)
        subprocess.run([commands[0], "pull", options.model], env=os.environ | {"AIADMIN_STATE": state}, check=True)
        streams = [int(number) for number in options.streams.split(",")]
        rows = run(commands, options.model, streams, options.tokens, options.rounds, state)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
