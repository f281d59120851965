"""Locks that hold between threads and between processes, and that a killed process lets go of."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .disk import disk_errors


@contextlib.contextmanager
def locked(path: Path, *, doing: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` for the block.

    `waiting` is called once if somebody else holds it. Raises `StoreError` where the file cannot be made.
    """
    import filelock  # 30 ms: not for commands that only read

    with disk_errors(doing, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if waiting is not None:
                waiting()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
