"""What a server's process takes, fresh and after many different requests: short and long prompts, some with a schema,
several at once.

    python bench/memory.py --url http://localhost:11434/v1 --pid PID [--requests 1000]

`--pid` is the process that holds the model (for `aiadmin serve`: the PID of `aiadmin ps`). What is printed is its
resident size in MB (RSS of /proc), mapped weights included, before the first request, after it, and after all of them.
"""

import argparse
import asyncio
import random

import httpx
import psutil
from loads import BOOK

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
AT_ONCE = 4


def megabytes(pid: int) -> int:
    return round(psutil.Process(pid).memory_info().rss / 1e6)


async def ask(client: httpx.AsyncClient, model: str, rng: random.Random, number: int) -> None:
    """One request, unlike all others. An answer cut short is as good as a whole one."""
    words = BOOK.split()
    begin = rng.randrange(len(words))
    length = rng.choice([5, 20, 80, 300, 900])
    text = " ".join((words * 2)[begin : begin + length])
    messages = [{"role": "system", "content": f"{number}."}, {"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "max_tokens": rng.choice([1, 8, 24]), "temperature": 0}
    if number % 5 == 0:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "s", "schema": _schema(number)}}
    answer = await client.post("/chat/completions", json=body)
    if answer.status_code != 400:  # longer than what one of its slots holds
        answer.raise_for_status()


def _schema(number: int) -> dict[str, object]:
    """Each is another one, as those of different programs are."""
    return SCHEMA | {"properties": SCHEMA["properties"] | {f"field_{number}": {"type": "boolean"}}}


async def run(url: str, model: str, pid: int, n_requests: int) -> None:
    rng = random.Random(7)
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        print(f"fresh: {megabytes(pid)} MB", flush=True)
        for first in range(1, n_requests, AT_ONCE):
            await asyncio.gather(*(ask(client, model, rng, number) for number in range(first, first + AT_ONCE)))
            if first == 1 or first // 100 != (first + AT_ONCE) // 100:
                print(f"after {first + AT_ONCE - 1}: {megabytes(pid)} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL with /v1")
    parser.add_argument("--pid", type=int, required=True, help="the process that holds the model")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    asyncio.run(run(options.url, options.model, options.pid, options.requests))


if __name__ == "__main__":
    main()
