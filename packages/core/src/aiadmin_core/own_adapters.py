"""The LoRA adapters that come with a model: loaded before its first request, and applied to each that brings none of
its own. Used by `assemble`, on its event loop.
"""

import asyncio
from pathlib import Path

from .backend import SupportsAdapters
from .errors import ModelLoadFailed
from .specs.capabilities import Capabilities
from .specs.model import ModelSpec
from .specs.request import Adapter


class OwnAdapters:
    """Raises `ModelLoadFailed` where the engine applies none."""

    def __init__(self, model: ModelSpec, able: Capabilities) -> None:
        files = [file for file in model.files if file.role == "adapter"]
        if files and "adapters" not in able.protocols:
            raise ModelLoadFailed(
                "The model has a LoRA adapter, which this backend does not apply.",
                hint="llama.cpp does, to a model that is a GGUF.",
            )
        self._paths = {file.digest or file.path: Path(file.path) for file in files}
        self._lock = asyncio.Lock()
        self._loaded = False
        self.all = tuple(Adapter(digest=digest) for digest in self._paths)

    async def load(self, engine: SupportsAdapters) -> None:
        """Make them available, once. Raises `BadRequest` for one that is not the model's."""
        async with self._lock:
            if not self._loaded:
                for digest, path in self._paths.items():
                    await engine.load_adapter(digest, path)
                self._loaded = True
