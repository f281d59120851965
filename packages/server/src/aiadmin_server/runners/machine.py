"""What was learnt about this machine: which builds of which backends crash on it unless they are opened in safe mode.

Kept in `machine.json` of the state folder, by backend build and processor: a library that is upgraded, or a home
folder on another machine, starts with a clean slate. Written by `supervisor`, read by `aiadmin doctor` as well.
"""

import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

FILE_NAME = "machine.json"

logger = logging.getLogger(__name__)


class Crash(Struct, frozen=True, kw_only=True):
    """A build that has crashed on a processor, and works there in safe mode."""

    backend: str
    build: str
    processor: str
    reason: str
    """How it ended: "was killed by SIGSEGV"."""
    at: float
    """Unix seconds."""


class Machine(Struct, frozen=True, kw_only=True):
    """The file's content."""

    crashes: tuple[Crash, ...] = ()


def read(state: Path) -> Machine:
    """What is known; a file that is missing or damaged knows nothing."""
    try:
        return msgspec.json.decode((state / FILE_NAME).read_bytes(), type=Machine)
    except FileNotFoundError:
        return Machine()
    except (OSError, msgspec.MsgspecError) as error:
        logger.warning("%s cannot be read and is ignored: %s", state / FILE_NAME, error)
        return Machine()


def find(machine: Machine, *, backend: str, build: str, processor: str) -> Crash | None:
    """The crash of this build on this processor, where it had one. Pure."""
    wanted = (backend, build, processor)
    return next((crash for crash in machine.crashes if (crash.backend, crash.build, crash.processor) == wanted), None)


def with_crash(machine: Machine, crash: Crash) -> Machine:
    """`machine` with `crash`, instead of what was known of the backend's other builds on that processor. Pure."""
    kept = [old for old in machine.crashes if (old.backend, old.processor) != (crash.backend, crash.processor)]
    return Machine(crashes=(*kept, crash))


def remember(state: Path, *, backend: str, build: str, reason: str) -> None:
    """Write down that `build` crashed here. It is learnt again at the next start where that is not possible."""
    if not build:
        return  # nothing would make it forgotten after an upgrade
    crash = Crash(backend=backend, build=build, processor=processor(), reason=reason, at=time.time())
    try:
        state.mkdir(parents=True, exist_ok=True)
        _write(state / FILE_NAME, msgspec.json.format(msgspec.json.encode(with_crash(read(state), crash))))
    except OSError as error:
        logger.warning("%s cannot be written: %s", state / FILE_NAME, error)


def _write(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@cache
def processor() -> str:
    """Identifies the processor and what it can do, as far as the system tells."""
    details = [platform.system(), platform.machine(), platform.processor(), os.environ.get("PROCESSOR_IDENTIFIER", "")]
    if sys.platform == "darwin":
        details.append(_output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"))
    elif sys.platform == "linux":
        details.append(_linux_processor())
    name = " ".join(dict.fromkeys(filter(None, details[:2])))
    return f"{name} {sha256('|'.join(details).encode()).hexdigest()[:16]}"


def _linux_processor() -> str:
    """Model and feature flags of the first processor, "" where /proc does not tell."""
    try:
        first = Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return ""
    telling = ("vendor_id", "model name", "model\t", "flags", "Features", "CPU part")
    return "\n".join(line for line in first.splitlines() if line.startswith(telling))


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603 - a fixed command
    except (OSError, subprocess.SubprocessError):
        return ""
