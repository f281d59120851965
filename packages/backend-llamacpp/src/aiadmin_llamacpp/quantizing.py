"""Making a GGUF's weights smaller. The library works in a process of its own: it may crash, and takes all cores."""

import contextlib
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

from aiadmin_core.backend import Report
from aiadmin_core.errors import BadRequest

from . import gguf

WHOLE = frozenset({"F32", "F16", "BF16"})
"""Weights that have lost nothing yet."""
_NUMBERS = {name: number for number, name in gguf.FILE_TYPES.items()}
KINDS = (
    *("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K", "BF16", "F16"),
)
"""Those that need no importance matrix, the largest first."""
_SHORT = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}


def quantize(source: Path, target: Path, kind: str, report: Report) -> None:
    """See `aiadmin_core.backend.Quantizes`."""
    wanted = _SHORT.get(kind.upper(), kind.upper())
    if wanted not in KINDS:
        near = difflib.get_close_matches(wanted, KINDS, n=3, cutoff=0.5)
        raise BadRequest(
            f"There are no weights of the kind '{kind[:40]}'.",
            hint=f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(KINDS)}.",
            param="quantize",
        )
    found = gguf.model_info(gguf.read_whole(source)).quantization
    if found not in WHOLE:
        raise BadRequest(
            f"The model's weights are {found or 'quantized'} already: only whole ones ({', '.join(sorted(WHOLE))}) are "
            "quantized.",
            hint="Begin with the model that this one was made of.",
            param="quantize",
        )
    command = [sys.executable, "-P", "-m", "aiadmin_llamacpp.native.quantizing", str(source), str(target)]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
            [*command, str(_NUMBERS[wanted])], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            _follow(process, report)
        except BaseException:
            process.kill()
            target.unlink(missing_ok=True)
            raise
        finally:
            process.wait()
        if process.returncode != 0 or not target.is_file():
            target.unlink(missing_ok=True)
            errors.seek(0)
            raise _failed(wanted, process.returncode, errors.read())


def _follow(process: "subprocess.Popen[str]", report: Report) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            done, total = map(int, line.split())
            report(done, total)


def _failed(kind: str, status: int, stderr: str) -> BadRequest:
    last = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), f"it ended with {status}")
    return BadRequest(
        f"llama.cpp cannot make weights of the kind {kind} of this model: {last[:300]}.",
        hint="Try another kind: Q8_0 takes every model.",
        param="quantize",
    )
