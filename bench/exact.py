"""Whether the same request gives the same tokens, in every way it can be asked: `nox -s exact`.

Prints a table, a line for each quantisation that llama.cpp can write of the model: in what blocks its rows must be
decoded (found when it is opened), and how many of the requests got the same tokens as alone. `unmeasured`: not tried.
Not listed in the suite, which has a short form of it: this takes an hour with 200 requests.
"""

import argparse
import ctypes
import json
import queue
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from aiadmin_core.backend import Broken, Ended, Sampled, StepEvent, TokenRequest
from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.backend import LlamaBackend

QUANTISATIONS = {  # llama_ftype in llama.h
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_M": 12,
    "Q4_K_M": 15,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
    "BF16": 32,
}
N_TOKENS = 24
TOPICS = ["bees", "ships", "a lost key", "seven", "rain", "old maps", "bread", "the moon", "glass", "a river"]
WAYS = ["again", "warm", "parked", "restarted", "shuffle 1", "shuffle 2", "shuffle 3"]

Tokens = list[int]


@dataclass
class Line:
    """One model's results: of each way, how many requests were equal, or why it was not tried."""

    model: str
    note: str
    n: int
    equal: dict[str, int | str]


class Engine:
    """An open engine that is asked several things at once, and waited for."""

    def __init__(self, path: Path, *, exact: bool, folder: Path) -> None:
        spec = ModelSpec(
            name=path.name,
            digest=f"file:{path}",
            format="gguf",
            files=(ModelFile(role="model", path=str(path)),),
        )
        options = EngineOptions(
            n_ctx=4096, n_parallel=16, exact=exact, prefix_folder=str(folder), prefix_disk_bytes=10**10
        )
        self._engine = LlamaBackend().open_engine(spec, options)
        self.note = self._engine.facts.notes[0]
        self._events: queue.SimpleQueue[Sequence[StepEvent]] = queue.SimpleQueue()
        self._n = 0
        self._engine.start(self._events.put)

    def encode(self, text: str) -> Tokens:
        return self._engine.tokenizer.encode(text, special=False)

    def ask(self, requests: Sequence[tuple[Tokens, SamplingParams]], *, salt: str) -> list[Tokens]:
        """The tokens of each, all asked at once."""
        ids = []
        for prompt, sampling in requests:
            self._n += 1
            ids.append(self._n)
            self._engine.submit(
                TokenRequest(
                    id=self._n,
                    prompt=(TokenSegment(tuple(prompt)),),
                    sampling=sampling,
                    max_tokens=N_TOKENS,
                    cache_salt=salt,
                )
            )
        answers: dict[int, Tokens] = {one: [] for one in ids}
        running = set(ids)
        while running:
            for event in self._events.get(timeout=600):
                if isinstance(event, Broken):
                    raise event.error
                if isinstance(event, Sampled):
                    answers[event.request_id].append(event.token)
                if isinstance(event, Ended):
                    running.discard(event.request_id)
        return [answers[one] for one in ids]

    def close(self) -> None:
        self._engine.close()


@contextmanager
def opened(path: Path, *, exact: bool, folder: Path) -> Iterator[Engine]:
    engine = Engine(path, exact=exact, folder=folder)
    try:
        yield engine
    finally:
        engine.close()


def requests_of(engine: Engine, n: int) -> list[tuple[Tokens, SamplingParams]]:
    """`n` requests: greedy and drawn, from a dozen to some hundred tokens, one in twenty longer than two windows."""
    return [
        (
            engine.encode(f"{'Listen carefully now. ' * _n_repeats(i)}Tell me about {TOPICS[i % 10]} and {i}."),
            SamplingParams(temperature=0) if i % 2 else SamplingParams(temperature=1, seed=i),
        )
        for i in range(n)
    ]


def _n_repeats(i: int) -> int:
    """Of five tokens each."""
    return 250 if i % 20 == 7 else i % 9 * 8


def one_by_one(engine: Engine, requests: Sequence[tuple[Tokens, SamplingParams]], salt: str) -> list[Tokens]:
    return [engine.ask([request], salt=f"{salt} {i}")[0] for i, request in enumerate(requests)]


def shuffled(engine: Engine, requests: Sequence[tuple[Tokens, SamplingParams]], salt: str) -> list[Tokens]:
    """Sixteen at a time, in an order that `salt` chooses; the answers in their own."""
    order = list(range(len(requests)))
    random.Random(salt).shuffle(order)
    answers: dict[int, Tokens] = {}
    for start in range(0, len(order), 16):
        chosen = order[start : start + 16]
        answers |= zip(chosen, engine.ask([requests[i] for i in chosen], salt=salt), strict=True)
    return [answers[i] for i in range(len(requests))]


def measure(path: Path, *, n: int, exact: bool) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with opened(path, exact=exact, folder=Path(folder)) as engine:
                requests = requests_of(engine, n)
                alone = one_by_one(engine, requests, "alone")
                ways: dict[str, Callable[[], list[Tokens]]] = {
                    "again": lambda: one_by_one(engine, requests, "again"),
                    "warm": lambda: [engine.ask([request, request], salt="warm")[1] for request in requests],
                    "parked": lambda: one_by_one(engine, requests, "alone"),
                    **{f"shuffle {i}": (lambda i=i: shuffled(engine, requests, f"{i}")) for i in (1, 2, 3)},
                }
                equal: dict[str, int | str] = {}
                for way, ask in ways.items():
                    equal[way] = same(alone, ask())
                    print(f"{path.stem}, {way}: {equal[way]} of {n}", file=sys.stderr, flush=True)
                note = engine.note
            with opened(path, exact=exact, folder=Path(folder)) as engine:
                equal["restarted"] = same(alone, one_by_one(engine, requests, "alone"))
        except AiAdminError as error:
            return Line(path.stem, error.message, n, dict.fromkeys(WAYS, "unmeasured"))
    return Line(path.stem, note, n, equal)


def same(one: list[Tokens], other: list[Tokens]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


def quantised(path: Path, name: str, folder: Path) -> Path | None:
    """The model in another quantisation; None where llama.cpp cannot write it."""
    from llama_cpp import llama_cpp as lib

    from aiadmin_llamacpp.native import log  # after the engine's module has chosen how OpenMP waits

    params = lib.llama_model_quantize_default_params()
    params.ftype = QUANTISATIONS[name]
    params.allow_requantize = True
    target = folder / f"{path.stem.rpartition('.')[0] or path.stem}.{name}.gguf"
    log.silence(True)  # what falls back to another type
    status = lib.llama_model_quantize(str(path).encode(), str(target).encode(), ctypes.byref(params))
    log.silence(False)
    return target if status == 0 else None


def table(lines: Sequence[Line]) -> str:
    rows = [f"| model | note | of | {' | '.join(WAYS)} |", f"| --- | --- | --- |{' --- |' * len(WAYS)}"]
    for line in lines:
        cells = " | ".join(str(line.equal.get(way, "unmeasured")) for way in WAYS)
        rows.append(f"| {line.model} | {line.note} | {line.n} | {cells} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--quantisations", nargs="*", default=[], help=f"also as {', '.join(QUANTISATIONS)}, or `all`")
    parser.add_argument("--json", type=Path, help="write the lines here as well")
    arguments = parser.parse_args()
    names = list(QUANTISATIONS) if arguments.quantisations == ["all"] else arguments.quantisations
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            lines.append(measure(model, n=arguments.requests, exact=True))
            print(table(lines[-1:]), flush=True)
            for name in names:
                path = quantised(model, name, Path(folder))
                if path is None:
                    lines.append(Line(f"{model.stem} {name}", "cannot be written", 0, {}))
                    continue
                lines.append(measure(path, n=arguments.requests, exact=True))
                print(table(lines[-1:]), flush=True)
                path.unlink()
    print("\n" + table(lines))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(line) for line in lines], indent=1))


if __name__ == "__main__":
    main()
