"""Decode speed of the llama.cpp engine beside the bare loop it is built on.

    python bench/engine.py --model model.gguf [--sequences 1 4 8] [--json result.json]

The bare loop fills a batch, calls llama_decode and samples, in one thread of a process of its own, with nothing
around it: no scheduler, no queue, no events. (In one process, OpenMP would stop spinning for both:
`engine.threads.apart`.) The engine has one context: two side by side would have no bare loop to compare with. Both
decode greedily, the same number of tokens after the same short prompt, whatever the tokens are. They take turns after
one round that is not counted (a processor that was idle is faster for a second), and the share is the median of the
rounds' own: what else the machine does hits both alike.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from aiadmin_core.backend import Broken, Ended, Sampled, StepEvent, TokenEngine, TokenRequest
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.backend import LlamaBackend
from aiadmin_llamacpp.engine.threads import default_threads, usable_cores

PROMPT = "Write a long story about a lighthouse keeper and the storm that changed the coast."
GREEDY = SamplingParams(temperature=0, ignore_eos=True)


N_CTX = 4096


@dataclass(frozen=True)
class Row:
    """Tokens per second of all sequences together."""

    sequences: int
    bare: float
    engine: float
    """Medians over the rounds."""
    share: float
    """Median of the engine's share of the bare loop, round by round."""


class BareLoop:
    """The low-level API and nothing else. See `Bare`, which asks one in another process."""

    def __init__(self, model: Path, *, n_threads: int, n_sequences: int, safe_mode: bool) -> None:
        from llama_cpp import llama_cpp as lib

        from aiadmin_llamacpp.native.batch import Batch
        from aiadmin_llamacpp.native.context import Context, ContextSettings
        from aiadmin_llamacpp.native.model import Model

        self.model = Model([str(model)], n_gpu_layers=-1, use_extra_bufts=not safe_mode)
        self.context = Context(self.model, ContextSettings(N_CTX, 512, n_sequences, n_threads))
        self.batch = Batch(512)
        self.lib = lib
        self.sampler = lib.llama_sampler_init_greedy()

    def tokens_per_s(self, prompt: Sequence[int], *, n_sequences: int, n_tokens: int) -> float:
        context, batch = self.context, self.batch
        context.clear()
        batch.clear()
        row = batch.add(0, np.array(prompt, np.int32), 0, rows=[len(prompt) - 1]) + len(prompt) - 1
        context.decode(batch)
        for sequence in range(1, n_sequences):
            context.share(0, sequence, len(prompt))
        rows = [row] * n_sequences
        one = np.empty(1, np.int32)
        started = time.perf_counter()
        for position in range(len(prompt), len(prompt) + n_tokens):
            tokens = [self.lib.llama_sampler_sample(self.sampler, context.handle, row) for row in rows]
            batch.clear()
            for sequence, token in enumerate(tokens):
                one[0] = token
                rows[sequence] = batch.add(sequence, one, position, rows=[0])
            context.decode(batch)
        return n_sequences * n_tokens / (time.perf_counter() - started)


_loop: BareLoop | None = None
"""In the other process."""


def _open_loop(model: Path, n_threads: int, n_sequences: int, safe_mode: bool) -> None:
    global _loop
    _loop = BareLoop(model, n_threads=n_threads, n_sequences=n_sequences, safe_mode=safe_mode)


def _ask_loop(prompt: Sequence[int], n_sequences: int, n_tokens: int) -> float:
    assert _loop is not None
    return _loop.tokens_per_s(prompt, n_sequences=n_sequences, n_tokens=n_tokens)


class Bare:
    """A `BareLoop` in a process of its own."""

    def __init__(self, model: Path, *, n_threads: int, n_sequences: int, safe_mode: bool) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), _open_loop, (model, n_threads, n_sequences, safe_mode)
        )

    def tokens_per_s(self, prompt: Sequence[int], *, n_sequences: int, n_tokens: int) -> float:
        return self._process.submit(_ask_loop, prompt, n_sequences, n_tokens).result()

    def close(self) -> None:
        self._process.shutdown()


class Engine:
    """The engine, driven through its protocol."""

    def __init__(self, engine: TokenEngine) -> None:
        self.engine = engine
        self._n_requests = 0
        self._first: list[float] = []
        self._n_sampled = self._n_running = 0
        self._last = 0.0
        self._done = threading.Event()
        self._error: Exception | None = None
        engine.start(self._on_step)

    def _on_step(self, events: Sequence[StepEvent]) -> None:
        now = time.perf_counter()
        for event in events:
            if isinstance(event, Sampled):
                if self._n_sampled == 0:
                    self._first.append(now)
                self._n_sampled += 1
                self._last = now
            elif isinstance(event, Ended):
                self._n_running -= 1
            elif isinstance(event, Broken):
                self._error, self._n_running = event.error, 0
        if self._n_running == 0:
            self._done.set()

    def tokens_per_s(self, prompt: Sequence[int], *, n_sequences: int, n_tokens: int) -> float:
        """From the first token to the last; the first ones are not counted, since prefilling made them."""
        self._done.clear()
        self._first.clear()
        self._n_sampled, self._n_running = 0, n_sequences
        for _ in range(n_sequences):
            self._n_requests += 1
            segment = TokenSegment(tuple(prompt))
            self.engine.submit(
                TokenRequest(id=self._n_requests, prompt=(segment,), sampling=GREEDY, max_tokens=n_tokens + 1)
            )
        self._done.wait()
        if self._error is not None:
            raise self._error
        return (self._n_sampled - n_sequences) / (self._last - self._first[0])


def measure(
    model: Path, *, sequences: Sequence[int], n_tokens: int, rounds: int, n_threads: int, safe_mode: bool
) -> list[Row]:
    """Every number of sequences, `rounds` times, bare loop and engine in turns."""
    most = max(*sequences, 16)
    options = EngineOptions(n_ctx=N_CTX, n_parallel=most, n_threads=n_threads, n_contexts=1, safe_mode=safe_mode)
    opened = LlamaBackend().open_engine(spec(model), options)
    prompt = opened.tokenizer.encode(PROMPT, special=False)
    engine = Engine(opened)
    bare = Bare(model, n_threads=n_threads, n_sequences=most, safe_mode=safe_mode)
    rows = []
    for n in sequences:
        turns = [
            (
                bare.tokens_per_s(prompt, n_sequences=n, n_tokens=n_tokens),
                engine.tokens_per_s(prompt, n_sequences=n, n_tokens=n_tokens),
            )
            for _ in range(rounds + 1)
        ][1:]
        shares = [by_engine / by_bare for by_bare, by_engine in turns]
        rows.append(Row(n, median(turn[0] for turn in turns), median(turn[1] for turn in turns), median(shares)))
    opened.close()
    bare.close()
    return rows


def spec(model: Path) -> ModelSpec:
    file = ModelFile(role="model", path=str(model.resolve()))
    return ModelSpec(name=model.stem, digest="", format="gguf", files=(file,))


def crashes(model: Path) -> bool:
    """Whether the first step ends the process, as some builds do on processors with AMX. Tried in another process."""
    arguments = [sys.executable, __file__, "--model", str(model), "--only-open"]
    return subprocess.run(arguments, capture_output=True, check=False).returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--tokens", type=int, default=96, help="decoded per sequence")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=default_threads(usable_cores()))
    parser.add_argument("--safe-mode", action="store_true", help="as the engine's: do not repack weights (AMX)")
    parser.add_argument("--json", type=Path, default=None, help="where to write the result")
    parser.add_argument("--only-open", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_open:
        LlamaBackend().open_engine(spec(options.model), EngineOptions(n_ctx=256)).close()
        return
    safe_mode = options.safe_mode or crashes(options.model)
    rows = measure(
        options.model,
        sequences=options.sequences,
        n_tokens=options.tokens,
        rounds=options.rounds,
        n_threads=options.threads,
        safe_mode=safe_mode,
    )
    threads, tokens = options.threads, options.tokens
    print(f"{options.model.name}, {threads} threads, {tokens} tokens, median of {options.rounds} rounds")
    print(f"{'sequences':>9}  {'bare loop':>9}  {'engine':>9}  {'engine/bare':>11}  {'x one':>5}")
    for row in rows:
        gain = row.engine / rows[0].engine
        print(f"{row.sequences:>9}  {row.bare:>5.1f} t/s  {row.engine:>5.1f} t/s  {row.share:>11.2f}  {gain:>5.2f}")
    if options.json:
        result = {
            "model": options.model.name,
            "build": LlamaBackend().build_id(),
            "n_threads": options.threads,
            "n_tokens": options.tokens,
            "rounds": options.rounds,
            "safe_mode": safe_mode,
            "rows": [asdict(row) for row in rows],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
