"""Owner of loaded LoRA adapters: small matrices that are added to a model's own. Loaded from any thread, applied to the
context by the engine thread."""

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as lib

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.request import Adapter

from . import log
from .model import Model


class Adapters:
    """By digest. They live as long as the model, which frees them with itself."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._handles: dict[str, Any] = {}
        self._loading = threading.Lock()

    def __contains__(self, digest: object) -> bool:
        return digest in self._handles

    def load(self, digest: str, path: Path) -> None:
        """Read the file, once. Raises `BadRequest` where it is no adapter of this model."""
        with self._loading:
            if digest in self._handles:
                return
            log.take_errors()
            handle = lib.llama_adapter_lora_init(self._model.handle, str(path).encode())
            if not handle:
                raise BadRequest(
                    f"The adapter cannot be applied to this model: {log.take_errors() or 'llama.cpp gave no reason'}.",
                    hint="An adapter fits the model it was trained on; convert_lora_to_gguf.py of llama.cpp makes one.",
                    param="lora",
                )
            self._handles[digest] = handle

    def apply(self, context: Any, wanted: Sequence[Adapter]) -> None:
        """Decode with these from the next step on. llama.cpp plans its computation anew where they are others than
        before, so steps of one state belong together."""
        n = len(wanted)
        handles = (lib.llama_adapter_lora_p_ctypes * max(1, n))(*(self._handles[one.digest] for one in wanted))
        scales = (ctypes.c_float * max(1, n))(*(one.scale for one in wanted))
        lib.llama_set_adapters_lora(context, handles, n, scales)
