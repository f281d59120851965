"""Install the built wheels into clean environments, combined as users combine them, and use them.

`python tests/wheels.py DIST [COMBINATION ...]`; called by `nox -s build`. pip keeps what it has downloaded or compiled.
"""

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HEAVY = ["llama_cpp", "mlx", "llguidance", "numpy", "jinja2"]
IMPORT_NOTHING_HEAVY = f"""
import sys
import aiadmin_core.hookspecs, aiadmin_core.plugins, aiadmin_core.refuse
import aiadmin_core.runner.client, aiadmin_core.runner.host
try:
    import aiadmin_server.app, aiadmin_server.cli
except ModuleNotFoundError as error:
    assert error.name == "aiadmin_server", error
loaded = [name for name in {HEAVY} if name in sys.modules]
assert not loaded, loaded
"""

COMBINATIONS: dict[str, tuple[list[str], list[list[str]]]] = {
    "core": (["aiadmin-core"], []),
    "core[testing]+echo": (
        ["aiadmin-core[testing]", "aiadmin-backend-echo"],
        [["pytest", "-q", "--pyargs", "aiadmin_core.testing", "--aiadmin-backend", "echo"]],
    ),
    "server+echo": (
        ["aiadmin-server", "aiadmin-backend-echo"],
        [
            ["aiadmin", "plugins"],
            ["aiadmin", "run", "echo", "hello from the wheel"],
        ],
    ),
    "server+cohere": (["aiadmin-server", "aiadmin-api-cohere"], [["aiadmin", "plugins"], ["aiadmin", "list"]]),
    "server+llamacpp": (
        ["aiadmin-server", "aiadmin-backend-llamacpp"],
        [["aiadmin", "run", "smollm2", "Say this is a test"]],
    ),
    "server+mlx": (["aiadmin-server", "aiadmin-backend-mlx"], [["aiadmin", "plugins"], ["aiadmin", "list"]]),
    "server+openai": (["aiadmin-server", "aiadmin-backend-openai"], [["aiadmin", "plugins"]]),
}


def check(name: str, dist: Path, folder: Path) -> None:
    packages, commands = COMBINATIONS[name]
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    environment = os.environ | {
        "AIADMIN_STATE": str(folder / "state"),
        "AIADMIN_HOST": "127.0.0.1:1",  # not a server that somebody runs on this machine
        "PATH": os.pathsep.join([str(scripts), os.environ["PATH"]]),
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: {' '.join(command)[:200]}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    run(python, "-m", "pip", "install", "-q", "--find-links", str(dist), *packages)
    run(python, "-m", "pip", "check")
    run(python, "-c", IMPORT_NOTHING_HEAVY)
    for command in commands:
        printed = run(str(scripts / command[0]), *command[1:])
        if "run" in command:
            assert printed.strip(), f"{name}: {command} printed nothing"
            print(f"   {' '.join(command)} -> {printed.strip()[:80]}")


def main() -> None:
    dist = Path(sys.argv[1]).resolve()
    for name in sys.argv[2:] or COMBINATIONS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            check(name, dist, Path(folder) / "venv")
        print(f"{name}: ok, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
