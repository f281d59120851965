"""Everything `nox -s bench` measures: the raw decode loop, our engine, our server beside other servers given by
`--url`, and what a token costs beside computing it.

The model is `smollm2`, pulled into a state folder of its own when it is not there.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import plot
import serve

BENCH = Path(__file__).parent
AIADMIN = str(Path(sys.executable).with_name("aiadmin"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", action="append", default=[], help="another server's base URL with /v1; may repeat")
    parser.add_argument("--model", default="smollm2", help="the model's name on every server")
    parser.add_argument("--clients", default="1,4,8,16,32")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--after", type=int, default=1, help="different requests before the first round")
    parser.add_argument("--results", type=Path, default=BENCH / "results", help="folder for the JSON")
    parser.add_argument("--schemas", type=Path, help="only: what becomes of answers kept to this folder's JSON schemas")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as state:
        environment = os.environ | {"AIADMIN_STATE": os.environ.get("AIADMIN_STATE", state)}
        subprocess.run([AIADMIN, "pull", "smollm2"], env=environment, check=True)
        shown = subprocess.run(
            [AIADMIN, "show", "smollm2", "--json"], env=environment, check=True, capture_output=True, text=True
        )
        model_file = next(
            file["path"] for file in json.loads(shown.stdout)["model"]["files"] if file["role"] == "model"
        )

        if options.schemas:
            for more in (
                ["--cost"],
                ["--schemas", str(options.schemas), "--json", str(options.results / "schemas.json")],
            ):
                subprocess.run([sys.executable, str(BENCH / "schemas.py"), "--model", model_file, *more], check=True)
            return
        engine = ["--model", model_file, "--json", str(options.results / "engine.json")]
        subprocess.run([sys.executable, str(BENCH / "engine.py"), *engine], check=True)

        server = subprocess.Popen([AIADMIN, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            url = next(found[0] for line in server.stdout if (found := re.search(r"http://[\w.]+:\d+", line)))
            urls = [f"{url}/v1", *options.url]
            for one in urls:
                asyncio.run(serve.warm_up(one, options.model, options.after))
            results = [row for plan in _plans(options) for row in serve.run(urls, options.model, *plan)]
        finally:
            server.terminate()
            server.wait(20)
        if Path("/proc/self/sched").exists():
            overhead = ["--model", options.model, "--json", str(options.results / "overhead.json")]
            subprocess.run([sys.executable, str(BENCH / "overhead.py"), *overhead], env=environment, check=True)
    print(serve.table(results))
    (options.results / "serve.json").write_text(json.dumps([asdict(row) for row in results], indent=2))
    plot.draw(results, ["aiadmin", *options.url], options.results)


def _plans(options: argparse.Namespace) -> list[tuple[str, list[int], int, int]]:
    """Each load with its numbers of clients, tokens and rounds."""
    clients = [int(number) for number in options.clients.split(",")]
    return [
        ("different", clients, options.tokens, options.rounds),
        ("common", clients, options.tokens, options.rounds),
        ("wave", [8], 32, options.rounds),
        ("second_wave", [8], 32, options.rounds),
        ("conversation", [1], 32, options.rounds),
    ]


if __name__ == "__main__":
    main()
