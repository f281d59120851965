"""Safetensors files, tensor by tensor, read where they lie: nothing is in memory before it is written. And the small
JSON files beside them."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiadmin_core.errors import BadRequest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating[Any]]
    Raw = npt.NDArray[Any]

MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How each is read; bfloat16 as what it is in memory."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A tensor in its file."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    """First byte, from the file's beginning."""

    @property
    def n_elements(self) -> int:
        return math.prod(self.shape)

    def raw(self) -> "Raw":
        """As it is stored; bfloat16 as uint16. Raises `BadRequest` for what is no float."""
        import numpy as np

        if self.dtype not in FLOATS:
            raise BadRequest(f"'{self.path.name}' holds {self.name} as {self.dtype}, which is no float.")
        if not self.n_elements:
            return np.zeros(self.shape, FLOATS[self.dtype])
        return np.memmap(self.path, FLOATS[self.dtype], "r", self.start, self.shape)

    def floats(self) -> "Floats":
        """As floats, bfloat16 widened to float32."""
        import numpy as np

        raw = self.raw()
        return (raw.astype(np.uint32) << 16).view(np.float32) if self.dtype == "BF16" else raw


def stored_in(path: Path) -> Iterator[Stored]:
    """Every tensor of a file. Raises `BadRequest` for a broken one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        n = int.from_bytes(file.read(8), "little")
        if not 0 < n <= min(size - 8, MAX_HEADER_BYTES):
            raise broken(path)
        try:
            header = json.loads(file.read(n))
            for name, found in header.items():
                if name != "__metadata__":
                    yield _stored(path, name, found, 8 + n, size)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise broken(path) from None


def _stored(path: Path, name: str, found: Mapping[str, Any], base: int, size: int) -> Stored:
    start, end = (base + offset for offset in found["data_offsets"])
    shape = tuple(found["shape"])
    if not all(isinstance(one, int) and one >= 0 for one in shape):
        raise broken(path)
    if not base <= start <= end <= size or end - start != math.prod(shape) * WIDTHS.get(found["dtype"], 1):
        raise broken(path)
    return Stored(path=path, name=name, dtype=found["dtype"], shape=shape, start=start)


def weights_in(files: Mapping[str, Path]) -> list[Path]:
    """The files with weights, in order, of a model's by name."""
    return [path for name, path in sorted(files.items()) if name.endswith(".safetensors")]


def count(config: Mapping[str, Any], name: str) -> int:
    """A whole number above 0 of config.json. Raises `BadRequest`."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadRequest(f"The model's config.json says {name} {value!r}.", hint="Fetch the model again.")
    return value


def read_json(path: Path) -> dict[str, Any]:
    """An object. Raises `BadRequest`."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise broken(path)
    return value


def broken(path: Path) -> BadRequest:
    return BadRequest(f"'{path.name}' is broken.", hint="The download may be incomplete: fetch the model again.")
