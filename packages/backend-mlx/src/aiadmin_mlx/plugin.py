"""What the entry point `mlx` offers. Imported by every command: loads no native library."""

from collections.abc import Sequence

from aiadmin_core.backend import Backend
from aiadmin_core.hookspecs import hookimpl

from .backend import MlxBackend

aiadmin_api_version = 1


@hookimpl
def aiadmin_backends() -> Sequence[Backend]:
    """MLX, for folders of safetensors."""
    return [MlxBackend()]
