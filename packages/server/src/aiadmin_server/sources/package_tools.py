"""Fetching a wheel with the tools the user has, set up as the user has set them up (index, proxy, certificates).

Tried in order: pip of this interpreter, `pip` on the path, `uv`. Used by `pypi`. Processes are started here and nowhere
else in the sources; a killed pull may leave one running, so each attempt has a folder of its own.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiadmin_core.sources import Progress

POLL_S = 0.2
REASON_CHARS = 240


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A way to fetch a wheel."""

    name: str
    command: tuple[str, ...]
    """Empty where it is not installed."""


UNREACHABLE = re.compile(
    r"name or service not known|temporary failure in name resolution|failed to resolve|nodename nor servname|"
    r"getaddrinfo failed|network is unreachable|no route to host|connection refused|"
    r"failed to establish a new connection|failed to lookup address|dns error|error sending request|tcp connect error|"
    r"connect timeout|connection timed out|"
    r"cannot connect to proxy|tunnel connection failed|certificate verify failed",
    re.IGNORECASE,
)
"""What pip and uv write where they did not get through to the index. What follows (pip: "No matching distribution
found") says nothing of the package then."""


class NoToolWorked(Exception):
    """Each tool's failure, in the order they were tried."""

    def __init__(self, failures: Mapping[str, str], *, unreachable: str = "") -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
        self.unreachable = unreachable
        """How a tool said that the index cannot be reached; "" where it can."""


def tools(requirement: str, *, output: Path, cache: Path) -> list[Tool]:
    """What to try for `requirement`, in order: pip leaves a wheel in `output`, uv the files of one."""
    # -vv: where it is told not to retry, pip says only then that it did not get through.
    pip_arguments = ("download", "-vv", "--no-deps", "--only-binary=:all:", "-d", str(output), requirement)
    pip_on_path = shutil.which("pip") or shutil.which("pip3")
    same_pip = pip_on_path is not None and Path(pip_on_path).parent == Path(sys.executable).parent
    # A virtual environment that is not activated has its scripts beside its interpreter, not on the path.
    uv = shutil.which("uv") or shutil.which("uv", path=sysconfig.get_path("scripts"))
    uv_arguments = ("pip", "install", "--no-deps", "--only-binary", ":all:", "--python", sys.executable)
    # uv unpacks into its cache: one of its own, so that progress can be seen, and cleared away with the rest.
    uv_places = ("--target", str(output), "--cache-dir", str(cache), requirement)
    # -P: a module in the folder one is in must not stand in for one of pip's.
    found = [Tool(name="pip of this Python", command=(sys.executable, "-P", "-m", "pip", *pip_arguments))]
    if not same_pip:  # tried already
        found.append(Tool(name="pip", command=(pip_on_path, *pip_arguments) if pip_on_path else ()))
    found.append(Tool(name="uv", command=(uv, *uv_arguments, *uv_places) if uv else ()))
    return found


def download(requirement: str, workdir: Path, progress: Callable[[Progress], None]) -> Path:
    """A folder below `workdir` with the wheel of `requirement`, or with its files. Blocking.

    Raises `NoToolWorked`, and `OSError` where the disk is full.
    """
    failures: dict[str, str] = {}
    unreachable = ""
    attempt = workdir / f"attempt-{os.urandom(4).hex()}"
    output, temporary = attempt / "out", attempt / "tmp"
    for tool in tools(requirement, output=output, cache=attempt / "cache"):
        if not tool.command:
            failures[tool.name] = "not on the path"
            continue
        shutil.rmtree(attempt, ignore_errors=True)
        output.mkdir(parents=True)
        temporary.mkdir()
        status, said = _run(tool.command, temporary, watch=lambda: _report(attempt, progress))
        if status == 0:
            return output
        if os.strerror(errno.ENOSPC).lower() in said.lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workdir))
        failures[tool.name] = last_words(said) or f"ended with status {status}"
        unreachable = unreachable or why_unreachable(said)
    shutil.rmtree(attempt, ignore_errors=True)
    raise NoToolWorked(failures, unreachable=unreachable)


def why_unreachable(log: str) -> str:
    """What in a tool's output says that the index cannot be reached; "" where nothing does. Pure."""
    found = UNREACHABLE.search(log)
    return found[0].lower() if found else ""


def last_words(log: str) -> str:
    """The line of a tool's output that says best what went wrong. Pure."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "fatal"))]
    words = (errors or lines or [""])[-1]
    return words if len(words) <= REASON_CHARS else words[: REASON_CHARS - 3] + "..."


def _run(command: tuple[str, ...], temporary: Path, watch: Callable[[], None]) -> tuple[int, str]:
    """Run a tool to its end; it ends with us if we are interrupted. Returns its status and output."""
    # Its temporary files go where the model will go: the same disk, seen by `watch`, and cleared away with the rest.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    manners = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off", "NO_COLOR": "1"}
    with tempfile.TemporaryFile() as output:  # not beside the model: what is said of a full disk must fit somewhere
        try:
            process = subprocess.Popen(  # noqa: S603 - a tool of `tools`, its arguments checked by `parse_reference`
                command,
                env={**os.environ, **places, **manners},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            return 127, f"error: {error}"
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=POLL_S)
                except subprocess.TimeoutExpired:
                    watch()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        return process.returncode, output.read().decode(errors="replace")


def _report(folder: Path, progress: Callable[[Progress], None]) -> None:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).stat().st_size
            except OSError:  # renamed or removed meanwhile
                continue
    progress(Progress(status="downloading", completed=total))
