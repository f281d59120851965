"""What becomes of answers that are kept to JSON schemas, from a real model.

    python bench/schemas.py --model model.gguf --schemas FOLDER [--tokens 1500] [--part 1/3] [--json result.json]
    python bench/schemas.py --model model.gguf --cost [--rounds 5] [--json result.json]

For each schema of the folder the model is asked for a document. An answer is *valid* where it is JSON and
`jsonschema` agrees with it, *refused* where the schema cannot be enforced (before anything is generated), *cut* where
it has not ended after so many tokens, *invalid* where it is wrong: there must be none.

`--cost` measures tokens/s of one and of eight answers at once, free and kept to a schema, in turns: the aim is 0.95.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import engine as bench_engine
import jsonschema

from aiadmin_core.assemble import assemble
from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.constraint import JsonSchema
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import Failed, Finished, TextDelta
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import ChatInput, GenerateRequest
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.backend import LlamaBackend
from aiadmin_llamacpp.engine.threads import default_threads, usable_cores

N_AT_ONCE = 4
LONGEST_PROMPT = 400
"""Characters of a schema that the model is shown: what is measured is what holds without its understanding."""


@dataclass(frozen=True)
class Row:
    """One schema's answer."""

    schema: str
    outcome: str
    why: str
    """What was refused, or is wrong; the end of an answer that was cut."""
    n_tokens: int
    closed: bool
    """Whether it was brought to its end since the limit was near."""
    compile_ms: float
    """Until the first token, with compiling, masks and reading the prompt."""


async def answer(engine: Any, number: int, name: str, schema: Any, n_tokens: int) -> Row:
    asked = f"Write a short JSON document of this schema: {json.dumps(schema)[:LONGEST_PROMPT]}"
    request = GenerateRequest(
        id=number,
        input=ChatInput(messages=(Message(role="user", content=(TextPart(asked),)),)),
        constraint=JsonSchema(schema=schema),
        sampling=SamplingParams(max_tokens=n_tokens, seed=number),
    )
    text, reason, used, began, first = "", "", 0, time.perf_counter(), 0.0
    try:
        async for event in engine.generate(request):
            if isinstance(event, TextDelta):
                first = first or time.perf_counter()
                text += event.text
            elif isinstance(event, Finished):
                reason, used = event.reason, event.usage.completion_tokens
            elif isinstance(event, Failed):
                return Row(name, "refused" if not text else "failed", event.message, 0, False, 0.0)
    except AiAdminError as error:
        return Row(name, "refused" if not text else "failed", str(error), 0, False, 0.0)
    outcome, why = judged(schema, text, reason)
    closed = reason == "length" and outcome != "cut"
    return Row(name, outcome, why, used, closed, round(1000 * (first - began), 1))


def judged(schema: Any, text: str, reason: str) -> tuple[str, str]:
    if reason == "length" and not is_json(text):
        return "cut", text[-120:]
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)(schema)
    try:
        error = next(validator.iter_errors(json.loads(text)), None)
    except ValueError as problem:
        return "invalid", f"{problem}: {text[-120:]}"
    return ("valid", "") if error is None else ("invalid", f"{error.json_path}: {error.message[:200]}")


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def measure(model: Path, schemas: dict[str, Any], n_tokens: int, threads: int, safe_mode: bool) -> list[Row]:
    spec = bench_engine.spec(model)
    options = EngineOptions(n_ctx=8192, n_parallel=N_AT_ONCE, n_threads=threads, n_contexts=1, safe_mode=safe_mode)
    engine = assemble(LlamaBackend().open_engine(spec, options), spec)
    places = asyncio.Semaphore(N_AT_ONCE)

    async def one(number: int, name: str) -> Row:
        async with places:
            row = await answer(engine, number, name, schemas[name], n_tokens)
            print(f"{row.outcome:8} {row.n_tokens:5} {row.schema:60} {row.why[:100]!r}", flush=True)
            return row

    try:
        return await asyncio.gather(*(one(number, name) for number, name in enumerate(schemas)))
    finally:
        await engine.close()


@dataclass(frozen=True)
class Cost:
    """Tokens per second of all answers together, medians over the rounds."""

    n_clients: int
    free: float
    with_schema: float
    share: float
    """Median of the rounds' own."""


ENDLESS = {"type": "array", "minItems": 1000, "items": {"type": "object", "properties": {"a": {"type": "string"}}}}
N_TOKENS = 64


async def speed(engine: Any, n_clients: int, schema: Any, number: int) -> float:
    """Tokens per second while they decode, all together, of answers that none can end."""

    async def one(index: int) -> float:
        request = GenerateRequest(
            id=number + index,
            input=ChatInput(messages=(Message(role="user", content=(TextPart(f"{index}: tell a tale."),)),)),
            constraint=JsonSchema(schema=schema) if schema else None,
            sampling=SamplingParams(max_tokens=N_TOKENS, temperature=0, ignore_eos=schema is None),
        )
        *_, last = [event async for event in engine.generate(request)]
        assert isinstance(last, Finished), last
        return last.usage.completion_tokens / last.usage.decode_s

    return sum(await asyncio.gather(*(one(index) for index in range(n_clients))))


async def costs(model: Path, rounds: int, threads: int, safe_mode: bool) -> list[Cost]:
    spec = bench_engine.spec(model)
    # Without guesses, which answers in JSON invite: what is measured is what masks cost.
    options = EngineOptions(
        n_ctx=4096, n_parallel=8, n_threads=threads, n_contexts=1, safe_mode=safe_mode, speculation=False
    )
    engine = assemble(LlamaBackend().open_engine(spec, options), spec)
    found: list[Cost] = []
    number = 0
    try:
        for n_clients in (1, 8):
            turns: list[tuple[float, float]] = []
            for _ in range(rounds + 1):  # the first is not counted
                free, kept = [
                    await speed(engine, n_clients, schema, number := number + 10) for schema in (None, ENDLESS)
                ]
                turns.append((free, kept))
            free, kept = (median(turn[side] for turn in turns[1:]) for side in (0, 1))
            found.append(Cost(n_clients, free, kept, median(kept / free for free, kept in turns[1:])))
    finally:
        await engine.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--schemas", type=Path, help="a folder of JSON schemas")
    parser.add_argument("--cost", action="store_true", help="measure what a schema costs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("--part", default="1/1", help="which part of how many, to measure in pieces")
    parser.add_argument("--threads", type=int, default=default_threads(usable_cores()))
    parser.add_argument("--json", type=Path, default=None, help="where to write the rows")
    options = parser.parse_args()
    safe_mode = bench_engine.crashes(options.model)
    if options.cost:
        found = asyncio.run(costs(options.model, options.rounds, options.threads, safe_mode))
        for row in found:
            print(
                f"{row.n_clients} at once: free {row.free:.1f} t/s, schema {row.with_schema:.1f}, share {row.share:.3f}"
            )
        if options.json:
            options.json.write_text(json.dumps([asdict(row) for row in found], indent=2))
        return
    part, n_parts = map(int, options.part.split("/"))
    paths = sorted(options.schemas.glob("*.json"))[part - 1 :: n_parts]
    schemas = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    rows = asyncio.run(measure(options.model, schemas, options.tokens, options.threads, safe_mode))
    counts = Counter(row.outcome for row in rows)
    n_closed = sum(row.closed for row in rows)
    print(f"{options.model.name}, {len(rows)} schemas, {options.tokens} tokens: {dict(counts)}, {n_closed} closed")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
