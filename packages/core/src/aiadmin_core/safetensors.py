"""The header of a safetensors file, nothing loaded: used by backends that read the format, and by a pull where none is
installed.

The format: https://github.com/huggingface/safetensors#format
"""

import json
import struct
from pathlib import Path
from typing import Any

from .errors import BadRequest

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def read_header(path: Path) -> dict[str, Any]:
    """Name -> {dtype, shape, data_offsets} of a file's tensors. Raises `BadRequest` where the file is broken or cut."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if path.stat().st_size < 8 + length + end:
            raise ValueError(f"it ends after {path.stat().st_size} of {8 + length + end} bytes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise BadRequest(f"{path} is no whole safetensors file: {error}.", hint="Fetch it again.") from error
    return header
