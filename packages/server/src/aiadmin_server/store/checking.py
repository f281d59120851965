"""Whether files are what their digests say: at once where nobody touched them, by hashing them where somebody did.

A file is hashed on a thread of its own, once for all who ask, and holds up nobody who does not need it. Used by the
store; the resolver waits for what it leaves open without keeping a thread.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from aiadmin_core.errors import StoreError
from aiadmin_core.specs.model import ModelFile

from .disk import Report, disk_errors, hash_file, ignore
from .stamps import Stamps

HashFile = Callable[[Path, Report], str]
"""From a file to its digest, telling how far it is. Raises `OSError`."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A file that was touched since it was last hashed, and is being hashed again."""

    file: ModelFile
    digest: Future[str]
    """What it turns out to have; raises `StoreError` where it cannot be read."""
    error: StoreError
    """What is wrong where that is another one than it should have."""

    def judge(self, digest: str) -> None:
        """Raises `error` for a digest that is not the file's own."""
        if digest != self.file.digest:
            raise self.error


class Checks:
    """Hashes files, each at most once at a time."""

    def __init__(self, stamps: Stamps, hash_file: HashFile = hash_file) -> None:
        self._stamps = stamps
        self._hash_file = hash_file
        self._lock = threading.Lock()
        self._running: dict[Path, Future[str]] = {}

    def digest(self, path: Path, *, thorough: bool = False, report: Report = ignore) -> str:
        """The file's digest: known, or computed here; always computed where `thorough`. Raises `OSError`."""
        known = None if thorough else self._stamps.digest(path)
        return known or self._compute(path, report)

    def digest_later(self, path: Path) -> Future[str]:
        """The file's digest, on its way. The one future is shared by all who ask meanwhile: do not cancel it."""
        with self._lock:
            running = self._running.get(path)
            if running is None:
                running = self._running[path] = Future()
                running.set_running_or_notify_cancel()
                threading.Thread(target=self._run, args=[path, running], name="hashing", daemon=True).start()
            return running

    def _run(self, path: Path, running: Future[str]) -> None:
        try:
            with disk_errors("reading the model", path):
                digest = self._stamps.digest(path) or self._compute(path, ignore)
        except BaseException as error:
            self._forget(path)
            running.set_exception(error)
        else:
            self._forget(path)
            running.set_result(digest)

    def _forget(self, path: Path) -> None:
        """Before the result is told: who asks from now on looks at the file anew."""
        with self._lock:
            del self._running[path]

    def _compute(self, path: Path, report: Report) -> str:
        before = path.stat()
        digest = self._hash_file(path, report)
        after = path.stat()
        same = (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)
        if same:  # else it was written meanwhile, and nobody knows what was read
            self._stamps.put(path, before, digest)
        return digest
