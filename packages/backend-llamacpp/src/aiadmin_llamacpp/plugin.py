"""What the entry point `llamacpp` offers. Imported by every command: loads no native library."""

from collections.abc import Sequence

from aiadmin_core.backend import Backend
from aiadmin_core.hookspecs import hookimpl

from .backend import LlamaBackend

aiadmin_api_version = 1


@hookimpl
def aiadmin_backends() -> Sequence[Backend]:
    """llama.cpp, for GGUF files."""
    return [LlamaBackend()]
