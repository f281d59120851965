"""Decode speed of the MLX engine beside mlx-lm's own `stream_generate`.

    python bench/engine_mlx.py --model FOLDER [--sequences 1 4] [--tokens 32] [--rounds 3] [--json out.json]

`stream_generate` decodes one sequence at a time, so its speed for one is what several share. Both decode greedily from
the same short prompt, past any end token. They take turns, and the best of the rounds counts: what else the machine
does then hits both alike. Targets: 0.95 of `stream_generate` or better for one sequence, more than it for four.

(This file cannot be called mlx.py: the scripts beside it would import it in the library's place.)
"""

import argparse
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx_lm

from aiadmin_core.backend import Broken, Ended, Sampled, StepEvent, TokenEngine, TokenRequest
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_mlx.backend import MlxBackend

PROMPT = "Write a long story about a lighthouse keeper and the storm that changed the coast."


class Reference:
    """mlx-lm by itself."""

    def __init__(self, folder: Path) -> None:
        self._model, self._tokenizer = mlx_lm.load(str(folder))[:2]
        self._tokenizer.eos_token_ids = set()

    def tokens_per_s(self, prompt: Sequence[int], *, n_tokens: int) -> float:
        """From the first token to the last."""
        first = last = 0.0
        answer = mlx_lm.stream_generate(self._model, self._tokenizer, list(prompt), max_tokens=n_tokens + 1)
        for index, _ in enumerate(answer):
            last = time.perf_counter()
            first = first if index else last
        return n_tokens / (last - first)


class Engine:
    """The engine, driven through its protocol."""

    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine
        self._n_requests = 0
        self._times: dict[int, list[float]] = {}
        self._n_open = 0
        self._over = threading.Event()
        self._error: Exception | None = None
        engine.start(self._on_step)

    def _on_step(self, events: Sequence[StepEvent]) -> None:
        now = time.perf_counter()
        for event in events:
            if isinstance(event, Sampled):
                self._times[event.request_id].append(now)
            elif isinstance(event, Ended | Broken):
                self._error = event.error if isinstance(event, Broken) else self._error
                self._n_open -= 1
        if not self._n_open:
            self._over.set()

    def tokens_per_s(self, prompt: Sequence[int], *, n_sequences: int, n_tokens: int) -> float:
        """All sequences' tokens, from when the last of them has its first until the first of them has its last."""
        self._over.clear()
        self._times.clear()
        self._n_open = n_sequences
        greedy = SamplingParams(temperature=0, ignore_eos=True)
        for _ in range(n_sequences):
            self._n_requests += 1
            self._times[self._n_requests] = []
            segment = TokenSegment(tuple(prompt))
            request = TokenRequest(id=self._n_requests, prompt=(segment,), sampling=greedy, max_tokens=n_tokens + 1)
            self._engine.submit(request)
        self._over.wait()
        if self._error is not None:
            raise self._error
        start = max(times[0] for times in self._times.values())
        end = min(times[-1] for times in self._times.values())
        return sum(start < at <= end for times in self._times.values() for at in times) / (end - start)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every number of sequences, `rounds` times, in turns with the reference."""
    folder = arguments.model.resolve()
    files = tuple(ModelFile(role="model", path=str(path), name=path.name) for path in sorted(folder.iterdir()))
    spec = ModelSpec(name=folder.name, digest="", format="safetensors", files=files)
    opened = MlxBackend().open_engine(spec, EngineOptions())
    prompt = opened.tokenizer.encode(PROMPT, special=False)
    engine, reference = Engine(opened), Reference(folder)
    rows = []
    for n in arguments.sequences:
        theirs, ours = [], []
        for _ in range(arguments.rounds):
            theirs.append(reference.tokens_per_s(prompt, n_tokens=arguments.tokens))
            ours.append(engine.tokens_per_s(prompt, n_sequences=n, n_tokens=arguments.tokens))
        best, base = max(ours), max(theirs)
        speeds = {"stream_generate": round(base, 2), "engine": round(best, 2)}
        rows.append({"sequences": n, **speeds, "ratio": round(best / base, 3)})
    opened.close()
    return {"model": spec.name, "device": opened.facts.device, "n_tokens": arguments.tokens, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder of safetensors")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--tokens", type=int, default=32, help="decoded per sequence")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None, help="where to write the result")
    arguments = parser.parse_args()
    result = measure(arguments)
    print(f"{'sequences':>9} {'stream_generate t/s':>19} {'engine t/s':>10} {'ratio':>6}")
    for row in result["rows"]:
        print(f"{row['sequences']:>9} {row['stream_generate']:>19} {row['engine']:>10} {row['ratio']:>6}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
