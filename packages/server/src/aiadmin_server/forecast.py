"""What a pull will take, said before it is begun: bytes to fetch, room on the disk, memory. Used by `pull`."""

from pathlib import Path

from msgspec import Struct

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.memory import container_memory

from .store.disk import free_bytes

OVERHEAD = 1.15
"""What a model takes in memory, beside its weights: a context of ordinary length, scratch memory, its process."""
USABLE = 0.9
"""Of the machine's memory."""


class Forecast(Struct, frozen=True, kw_only=True):
    """Sizes in bytes; 0 is unknown."""

    name: str
    download_bytes: int
    free_bytes: int
    """On the store's disk."""
    needed_bytes: int
    """Of memory, to serve it; 0 where nothing says what it takes."""
    memory_bytes: int
    """That there is."""
    is_known: bool = False
    """Whether a backend says what is needed; else it is the least."""

    @property
    def fits(self) -> bool:
        """Whether the machine's own memory can hold it; True where nobody knows."""
        return not self.memory_bytes or self.needed_bytes <= self.memory_bytes * USABLE


def forecast(
    name: str, download_bytes: int, weights_bytes: int, folder: Path, found: MemoryEstimate | None = None
) -> Forecast:
    """`found` is what a backend says of the memory, where one can."""
    return Forecast(
        name=name,
        download_bytes=download_bytes,
        free_bytes=free_bytes(folder),
        needed_bytes=found.n_bytes if found else needed_memory(weights_bytes),
        memory_bytes=machine_memory(),
        is_known=found is not None,
    )


def needed_memory(weights_bytes: int) -> int:
    """To serve a model whose weights have so many bytes. A rule of thumb: what is really taken depends on its context,
    and is looked at before each load."""
    return int(weights_bytes * OVERHEAD)


def machine_memory() -> int:
    """Of this machine or container."""
    import psutil  # 20 ms

    total: int = psutil.virtual_memory().total
    container = container_memory()
    return min(total, container.total) if container else total
