"""How keys and values are stored: what may be asked for, and what is taken where nothing is."""

import platform
from typing import NamedTuple


class CacheType(NamedTuple):
    """Of keys, then of values."""

    ggml: tuple[int, int]
    """`ggml_type` in ggml.h."""
    n_bytes: tuple[float, float]
    """Of a number in the cache."""
    block: int = 1
    """Numbers that are stored together: the width of a head has to be a multiple of it."""

    @property
    def has_one_path(self) -> bool:
        """Whether a row's attention is computed in one way, however many rows and cells there are: ggml has two more
        where keys and values are both F16 or both F32 (`ggml_compute_forward_flash_attn_ext_f16`)."""
        keys, values = self.ggml
        return keys != values or keys not in (0, 1)


CACHE_TYPES = {
    "bf16/f16": CacheType((30, 1), (2.0, 2.0)),
    "q8_0": CacheType((8, 8), (34 / 32, 34 / 32), block=32),
    "bf16": CacheType((30, 30), (2.0, 2.0)),
    "f16": CacheType((1, 1), (2.0, 2.0)),
    "f32": CacheType((0, 0), (4.0, 4.0)),
}

_FASTEST = ("bf16/f16", "q8_0", "bf16")
_SMALLEST = ("q8_0", "bf16")


def unasked(machine: str | None = None) -> tuple[str, ...]:
    """Types with one path, the best one for the processor (this machine's, or one named as `platform.machine` does)
    first. On x86 BF16 keys with F16 values decode as fast as F16; elsewhere ggml multiplies BF16 number by number."""
    machine = (platform.machine() if machine is None else machine).lower()
    return _FASTEST if machine in ("x86_64", "amd64") else _SMALLEST


def fitting(names: tuple[str, ...], *, key_length: int, value_length: int) -> str:
    """The first of them whose blocks fit heads of these widths."""
    return next(
        name for name in names if key_length % CACHE_TYPES[name].block == value_length % CACHE_TYPES[name].block == 0
    )
