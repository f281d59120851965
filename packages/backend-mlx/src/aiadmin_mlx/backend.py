"""The MLX backend as the server sees it: what it can serve, what a folder holds, whether it can work here.

Imports neither mlx nor mlx-lm; `open_engine` does, inside the runner.
"""

import importlib.util
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from aiadmin_core.backend import Health, MemoryEstimate, ModelInfo, TokenEngine
from aiadmin_core.constraint.enforced import enforced
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.capabilities import MAX_LOGPROBS, Capabilities
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from . import memory, safetensors
from .gguf import header

LIBRARIES = ("mlx", "mlx-lm", "mlx-metal", "mlx-cpu", "mlx-cuda-12", "mlx-cuda-13")
"""Distributions whose versions make up the build: the front end, and the native library of each kind of device."""

_REINSTALL = "Run `pip install --force-reinstall aiadmin-backend-mlx`; mlx exists for Apple silicon and for Linux."

# A matrix product, and a compiled function (which on CPUs calls a C++ compiler): what every model needs.
_PROBE = """
import json
import mlx.core as mx
import mlx_lm
product = mx.ones((64, 64), mx.bfloat16) @ mx.ones((64, 64), mx.bfloat16)
assert product[0, 0].item() == 64
assert mx.compile(lambda x: x * 2 + 1)(mx.ones(4)).tolist() == [3, 3, 3, 3]
device = mx.device_info().get("device_name", "")
print(json.dumps({"kind": mx.default_device().type.name, "device": device}))
"""


class MlxBackend:
    """Opens safetensors models with mlx-lm, llamas in GGUF files, which it converts, and encoders by `bert`."""

    name = "mlx"

    def suitability(self, model: ModelSpec) -> int | None:
        """100 on Apple silicon, which MLX is made for; elsewhere 50, and 40 for encoders: llama.cpp comes first;
        10 for a GGUF that can be converted: its quantization is lost, where llama.cpp keeps it. None for other formats,
        and without mlx."""
        if model.format == "gguf" and importlib.util.find_spec("mlx") is not None:
            files = [Path(file.path) for file in model.files if file.role == "model"]
            return 10 if len(files) == 1 and header.architecture(files[0]) in header.ARCHITECTURES else None
        if model.format != "safetensors" or importlib.util.find_spec("mlx") is None:
            return None
        if (platform.system(), platform.machine()) == ("Darwin", "arm64"):
            return 100
        return 40 if _is_encoder(model) else 50

    def inspect(self, path: Path) -> ModelInfo | None:
        """Read a folder of config.json and *.safetensors (or one file of such a folder), or a GGUF file, without
        loading it.

        Raises `errors.BadRequest` where a file is broken.
        """
        if path.is_file() and header.is_gguf(path):
            return header.info(path)
        folder = path.parent if path.suffix == ".safetensors" else path
        return safetensors.read_folder(folder) if safetensors.is_model_folder(folder) else None

    def build_id(self) -> str:
        """The versions of the native libraries, "mlx 0.32.4, mlx-cpu 0.32.4, ..."; "" without mlx."""
        return ", ".join(f"{name} {version}" for name in LIBRARIES if (version := _version(name)))

    def foretell(self) -> Capabilities:
        """Whether a model gives vectors, its architecture in mlx-lm decides."""
        return Capabilities(constraints=enforced(), max_logprobs=MAX_LOGPROBS)

    def health(self) -> Health:
        """Compute something with MLX in a child interpreter, so that a crash stays there. Takes a second or two."""
        if importlib.util.find_spec("mlx") is None or importlib.util.find_spec("mlx_lm") is None:
            return Health(ok=False, summary="mlx or mlx-lm is not installed.", hint=_REINSTALL)
        try:
            probe = subprocess.run(  # noqa: S603 - this interpreter, and a text of this module
                [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=120, check=False
            )
        except subprocess.TimeoutExpired:
            return Health(ok=False, summary=f"{self.build_id()}: no answer after 120 s.", hint="Is the machine busy?")
        if probe.returncode != 0:
            last = probe.stderr.strip().splitlines()[-1:] or [f"exit status {probe.returncode}"]
            return Health(ok=False, summary=f"{self.build_id()} does not work here: {last[0]}", hint=_REINSTALL)
        found = json.loads(probe.stdout)
        return Health(ok=True, summary=f"{self.build_id()} on {found['kind']} ({found['device'] or 'unnamed'})")

    def estimate_memory(self, model: ModelSpec, options: EngineOptions) -> MemoryEstimate | None:
        """From the files' sizes and config.json. Raises `BadRequest` for a broken one."""
        if model.format == "gguf" and (file := model.file("model")) is not None:
            found = header.info(Path(file.path))
            weights = found.n_params * (4 if found.quantization == "F32" else 2)
            return MemoryEstimate(weights_bytes=weights, compute_bytes=memory.PROCESS_BYTES)
        config = next((Path(file.path) for file in model.files if file.name == "config.json"), None)
        if config is None:
            return None
        weights = sum(file.size for file in model.files if file.role == "model")
        separate = any(_version(library) for library in LIBRARIES if "cuda" in library)
        return memory.estimate(
            safetensors.language_config(safetensors.read_json(config)),
            options,
            weights_bytes=weights,
            separate=separate,
        )

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> TokenEngine:
        """Load `model` on a thread of its own, and decode with it once. Raises `errors.ModelLoadFailed`."""
        if _is_encoder(model):
            from .engine.encoder import MlxEncoderEngine

            return MlxEncoderEngine(model, options)
        from .engine.engine import MlxEngine

        return MlxEngine(model, options)


def _is_encoder(model: ModelSpec) -> bool:
    """Whether it is a BERT, of which mlx-lm has none: `bert` has."""
    config = next((Path(file.path) for file in model.files if file.name == "config.json"), None)
    try:
        return config is not None and safetensors.read_json(config).get("model_type") == "bert"
    except (OSError, BadRequest):
        return False


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
