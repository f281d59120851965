"""AiAdmin as a user meets it: the installed command, a state folder, a running server. Loaded by conftest.py."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

SCRIPTS = Path(sys.executable).parent
READY_S = 60


@dataclass
class Server:
    """A running `aiadmin serve`."""

    url: str
    process: subprocess.Popen[str]
    output: list[str]

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given."""
        return f"{self.url}/v1/"

    def ps(self) -> list[dict[str, Any]]:
        models: list[dict[str, Any]] = httpx.get(f"{self.url}/api/ps").json()["models"]
        return models

    def eventually(self, condition: Callable[["Server"], bool], *, timeout_s: float = 20) -> None:
        """Wait for what the server will show: runners send their counters every two seconds."""
        eventually(lambda: condition(self), timeout_s=timeout_s)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels, 0 before it is first counted."""
        text = httpx.get(f"{self.url}/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{| )", line))


def eventually(condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
    """Wait for what happens in another process, which has no event to wait for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@dataclass
class Product:
    """An installed AiAdmin with a state folder of its own."""

    state: Path
    environment: dict[str, str] = field(default_factory=dict)

    def env(self, **more: str) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.upper().startswith("AIADMIN_")}
        own = {
            "AIADMIN_STATE": str(self.state),
            "AIADMIN_CONFIG": str(self.state / "config.toml"),
            "AIADMIN_HOST": "127.0.0.1:1",  # not a server that somebody runs on this machine
            "PATH": os.pathsep.join([str(SCRIPTS), inherited.get("PATH", "")]),
        }
        return inherited | own | self.environment | more

    def run(
        self, *arguments: str, check: bool = True, input: str | None = None, timeout: float = 120, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `aiadmin ARGUMENTS`; with `check`, a failure shows what it printed."""
        done = subprocess.run(
            [str(SCRIPTS / "aiadmin"), *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            timeout=timeout,
            env=self.env(**env),
        )
        if check and done.returncode:
            raise AssertionError(f"aiadmin {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    @contextmanager
    def serve(self, *arguments: str, **env: str) -> Iterator[Server]:
        """`aiadmin serve` on a free port, ended when the block is left."""
        process = subprocess.Popen(
            [str(SCRIPTS / "aiadmin"), "serve", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.env(**env),
            process_group=0 if os.name == "posix" else None,  # so that a test can signal it and its runners alone
        )
        assert process.stdout
        output: list[str] = []
        ready = threading.Event()
        reader = threading.Thread(target=_read, args=(process.stdout, output, ready), daemon=True)
        reader.start()
        try:
            assert ready.wait(READY_S), f"the server did not get ready:\n{''.join(output)}"
            url = next((found[0] for line in output if (found := re.search(r"http://[\w.]+:\d+", line))), None)
            assert url, f"the server ended, or named no URL:\n{''.join(output)}"
            yield Server(url=url, process=process, output=output)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join(5)
            process.stdout.close()

    def clone(self, folder: Path) -> "Product":
        """Another state folder with the same models; the files are shared, not copied."""
        shutil.copytree(self.state, folder, copy_function=_link)
        return Product(state=folder, environment=dict(self.environment))


def _read(stream: IO[str], output: list[str], ready: threading.Event) -> None:
    for line in stream:
        output.append(line)
        if re.search(r"http://[\w.]+:\d+", line):
            ready.set()
    ready.set()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
