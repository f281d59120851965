"""Decode speed of the llama.cpp engine beside the bare loop it is built on.

    python bench/engine.py --model model.gguf [--sequences 1 4 8] [--json out.json]

The bare loop fills a batch, calls llama_decode and samples, in one thread, with nothing around it: no scheduler, no
queue, no events. Both decode greedily, the same number of tokens after the same short prompt, whatever the tokens are.
They take turns, and the best of the rounds counts: what else the machine does then hits both alike.
"""

import argparse
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aiadmin_core.backend import Broken, Ended, Sampled, StepEvent, TokenEngine, TokenRequest
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.backend import LlamaBackend
from aiadmin_llamacpp.engine.threads import default_threads, prepare_environment, usable_cores

PROMPT = "Write a long story about a lighthouse keeper and the storm that changed the coast."
GREEDY = SamplingParams(temperature=0, ignore_eos=True)


class BareLoop:
    """The low-level API and nothing else."""

    def __init__(self, model: Path, *, n_ctx: int, n_threads: int, n_sequences: int, safe_mode: bool) -> None:
        from aiadmin_llamacpp.native.batch import Batch
        from aiadmin_llamacpp.native.context import Context, ContextSettings
        from aiadmin_llamacpp.native.model import Model
        from aiadmin_llamacpp.native.samplers import SamplerChain

        self.model = Model([str(model)], n_gpu_layers=-1, use_extra_bufts=not safe_mode)
        self.context = Context(self.model, ContextSettings(n_ctx, 512, n_sequences, n_threads))
        self.batch = Batch(512)
        nothing = np.empty(0, np.int32)
        self.samplers = [SamplerChain(GREEDY, self.context, seed=0, recent=nothing) for _ in range(n_sequences)]

    def tokens_per_s(self, prompt: Sequence[int], *, n_sequences: int, n_tokens: int) -> float:
        context, batch = self.context, self.batch
        context.clear()
        batch.clear()
        row = batch.add(0, np.array(prompt, np.int32), 0, wants_logits=True)
        context.decode(batch)
        for sequence in range(1, n_sequences):
            context.share(0, sequence, len(prompt))
        rows = [row] * n_sequences
        one = np.empty(1, np.int32)
        started = time.perf_counter()
        for position in range(len(prompt), len(prompt) + n_tokens):
            tokens = [self.samplers[sequence].sample(rows[sequence]) for sequence in range(n_sequences)]
            batch.clear()
            for sequence, token in enumerate(tokens):
                one[0] = token
                rows[sequence] = batch.add(sequence, one, position, wants_logits=True)
            context.decode(batch)
        return n_sequences * n_tokens / (time.perf_counter() - started)

    def close(self) -> None:
        for sampler in self.samplers:
            sampler.close()
        self.context.close()
        self.model.close()


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


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Every number of sequences, `rounds` times, bare loop and engine in turns."""
    prepare_environment_and_say()
    n_threads = arguments.threads or default_threads(usable_cores())
    most = max(arguments.sequences)
    spec = ModelSpec(
        name=arguments.model.stem,
        digest="",
        format="gguf",
        files=(ModelFile(role="model", path=str(arguments.model.resolve())),),
    )
    options = EngineOptions(n_ctx=4096, n_parallel=max(most, 16), n_threads=n_threads, safe_mode=arguments.safe_mode)
    opened = LlamaBackend().open_engine(spec, options)
    prompt = opened.tokenizer.encode(PROMPT, special=False)
    engine = Engine(opened)
    bare = BareLoop(
        arguments.model, n_ctx=4096, n_threads=n_threads, n_sequences=max(most, 16), safe_mode=arguments.safe_mode
    )
    rows = []
    for n in arguments.sequences:
        speeds: dict[str, list[float]] = {"bare": [], "engine": []}
        for _ in range(arguments.rounds):
            for name, runner in (("bare", bare), ("engine", engine)):
                speeds[name].append(runner.tokens_per_s(prompt, n_sequences=n, n_tokens=arguments.tokens))
        best = {name: max(values) for name, values in speeds.items()}
        rows.append(
            {
                "sequences": n,
                **{k: round(v, 1) for k, v in best.items()},
                "share": round(best["engine"] / best["bare"], 3),
            }
        )
    opened.close()
    bare.close()
    return {
        "model": spec.name,
        "n_threads": n_threads,
        "n_tokens": arguments.tokens,
        "rounds": arguments.rounds,
        "rows": rows,
    }


def prepare_environment_and_say() -> None:
    import os

    prepare_environment(os.environ)
    print({name: value for name, value in os.environ.items() if name.startswith(("GOMP_", "OMP_"))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--tokens", type=int, default=96, help="decoded per sequence")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--safe-mode", action="store_true", help="do not repack weights (AMX)")
    parser.add_argument("--json", type=Path, default=None, help="where to write the result")
    result = measure(parser.parse_args())
    print(f"{'sequences':>9} {'bare t/s':>9} {'engine t/s':>10} {'share':>6}")
    for row in result["rows"]:
        print(f"{row['sequences']:>9} {row['bare']:>9} {row['engine']:>10} {row['share']:>6}")


if __name__ == "__main__":
    main()
