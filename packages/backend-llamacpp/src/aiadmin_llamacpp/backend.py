"""`aiadmin_core.backend.Backend` for llama.cpp. The library is loaded by `open_engine`, and by nothing else here."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from aiadmin_core.backend import Health, MemoryEstimate, ModelInfo, Report
from aiadmin_core.constraint.enforced import enforced
from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.memory import machine_memory
from aiadmin_core.specs.capabilities import MAX_LOGPROBS, Capabilities
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from . import bert, gguf, memory, quantizing
from .build import DISTRIBUTION, build_id, library_folder
from .engine.threads import apart

if TYPE_CHECKING:
    from .engine.encoder import LlamaEncoderEngine
    from .engine.engine import LlamaEngine  # imports the native library

PROBE = """
import llama_cpp.llama_cpp as lib
silent = lib.llama_log_callback(lambda *_: None)  # kept: finding a GPU is logged
lib.llama_log_set(silent, None)
devices = "CPU only"
if lib.llama_supports_gpu_offload():
    from aiadmin_llamacpp.native.devices import find_devices
    devices = " ".join(["GPU offload", *(device.name for device in find_devices())])
print(devices, lib.llama_print_system_info().decode(), sep=" | ")
"""
PROBE_TIMEOUT_S = 60


class LlamaBackend:
    """GGUF models on CPU, CUDA and Metal, and BERT encoders, which become GGUFs as they are loaded."""

    name = "llamacpp"

    def suitability(self, model: ModelSpec) -> int | None:
        """50 for any GGUF, and for the encoders that are made one."""
        if model.format == "safetensors":
            return 50 if bert.is_bert(bert.files_of(model)) else None
        return 50 if model.format == "gguf" and model.file("model") is not None else None

    def inspect(self, path: Path) -> ModelInfo | None:
        """The header of a GGUF file, or those of a folder that is a BERT; None for others. Raises `BadRequest` for a
        broken one, or one cut off."""
        if path.is_dir():
            files = {one.relative_to(path).as_posix(): one for one in (*path.glob("*"), path / bert.POOLING)}
            files = {name: one for name, one in files.items() if one.is_file()}
            return bert.model_info(files) if bert.is_bert(files) else None
        if not path.is_file() or not gguf.is_gguf(path):
            return None
        return gguf.model_info(gguf.read_whole(path))

    def build_id(self) -> str:
        """Version of the distribution, and a digest of its libraries' sizes and times: a rebuild changes it."""
        return build_id()

    def health(self) -> Health:
        """Load the library in a child process, and say what it is."""
        try:
            version = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:
            return Health(ok=False, summary=f"{DISTRIBUTION} is not installed", hint=f"pip install {DISTRIBUTION}")
        try:
            probe = subprocess.run(  # noqa: S603 - our own interpreter, our own text
                [sys.executable, "-c", PROBE],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Health(
                ok=False,
                summary=f"{DISTRIBUTION} {version} did not load within {PROBE_TIMEOUT_S} s",
                hint="A GPU driver may hang; try again, or reinstall the package.",
            )
        if probe.returncode != 0:
            last = (probe.stderr.strip().splitlines() or ["no message"])[-1]
            return Health(
                ok=False,
                summary=f"{DISTRIBUTION} {version} cannot be loaded (status {probe.returncode}): {last}",
                hint=f"Reinstall it for this machine: pip install --force-reinstall --no-cache-dir {DISTRIBUTION}",
            )
        return Health(ok=True, summary=f"{DISTRIBUTION} {version} | {probe.stdout.strip().rstrip('| ')}")

    def estimate_memory(self, model: ModelSpec, options: EngineOptions) -> MemoryEstimate | None:
        """From the header of the first part. Raises `BadRequest` for a broken file."""
        machine = machine_memory()
        available = None if machine is None else machine.available
        return memory.estimate(model, options, offloads=_offloads(), available_bytes=available)

    def foretell(self) -> Capabilities:
        """Vectors too: a second context on the same weights makes them."""
        return Capabilities(constraints=enforced(), max_logprobs=MAX_LOGPROBS, protocols=frozenset({"embed"}))

    def convert(self, folder: Path, destination: Path, report: Report) -> None:
        """A folder of safetensors as a GGUF: Llama, Mistral, Qwen 2 and 3, BERT. Raises `BadRequest` for others."""
        from .convert.convert import convert

        convert(folder, destination, report)

    def quantize(self, source: Path, destination: Path, kind: str, report: Report) -> None:
        """By llama.cpp's own function, in a process that ends with it. Raises `BadRequest`."""
        quantizing.quantize(source, destination, kind, report)

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> "LlamaEngine | LlamaEncoderEngine":
        """Load `model` and decode once. Raises `ModelLoadFailed`."""
        # Where gdb is installed, ggml lets it print pages of stack behind the assertion that says what was wrong.
        os.environ.setdefault("GGML_NO_BACKTRACE", "1")
        try:
            from .engine.opening import open_engine
        except Exception as error:  # a missing or broken library raises whatever it likes
            raise ModelLoadFailed(
                f"llama.cpp cannot be loaded: {error}.", hint="`aiadmin doctor` says more about the installation."
            ) from error
        return apart(lambda: open_engine(model, options))


def _offloads() -> bool:
    """Whether this build keeps weights on devices with memory of their own, as its libraries' names tell (Metal's is
    the machine's)."""
    names = [path.name for path in library_folder().glob("*ggml*")]
    return any(kind in name for name in names for kind in ("cuda", "hip", "vulkan", "sycl", "musa", "cann"))
