"""Digests that were computed, with what the file looked like then: a file nobody has touched is not read again.

One small JSON file for each in `aiadmin/verified/`, written in one step, so that writing needs no lock and no writer
loses another's. Nothing needs them: without one, the file is hashed. Used by the store alone.
"""

import contextlib
import os
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from .disk import write_file
from .manifest import encode


class Stamp(Struct, frozen=True, kw_only=True):
    """A file as it was when it had `digest`."""

    size: int
    mtime_ns: int
    inode: int
    digest: str

    def fits(self, status: os.stat_result) -> bool:
        """Whether the file has not been touched since."""
        return (self.size, self.mtime_ns, self.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)


_decoder = msgspec.json.Decoder(Stamp)


class Stamps:
    """What is known of the files of one store, and of those its models use in place. Thread-safe."""

    def __init__(self, folder: Path, *, root: Path, scratch: Path) -> None:
        self.folder = folder
        self._root = root
        self._scratch = scratch
        self._kept: dict[Path, Stamp] = {}
        """For stores that cannot be written, and to spare reads."""

    def digest(self, path: Path) -> str | None:
        """The digest of the file as it stands; None where that is not known. Raises `OSError` where there is none."""
        status = path.stat()
        kept = self._kept.get(path)
        if kept is None or not kept.fits(status):
            kept = self._read(path)
        if kept is None or not kept.fits(status):
            return None
        self._kept[path] = kept
        return kept.digest

    def is_known(self, path: Path) -> bool:
        """Whether the file's digest was ever computed, whatever has become of it since."""
        return path in self._kept or self._read(path) is not None

    def put(self, path: Path, status: os.stat_result, digest: str) -> None:
        """Note that the file had `digest` when it looked like `status`. Never raises: it only saves the next hash."""
        stamp = Stamp(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino, digest=digest)
        self._kept[path] = stamp
        with contextlib.suppress(OSError):
            write_file(self.folder / self._key(path), encode(stamp), scratch=self._scratch)

    def keep_only(self, paths: Collection[Path]) -> None:
        """Forget every file but these."""
        self._kept = {path: stamp for path, stamp in self._kept.items() if path in paths}
        keys = {self._key(path) for path in paths}
        with contextlib.suppress(OSError):
            for key in set(os.listdir(self.folder)) - keys:  # noqa: PTH208 - names, not paths
                (self.folder / key).unlink(missing_ok=True)

    def _read(self, path: Path) -> Stamp | None:
        try:
            return _decoder.decode((self.folder / self._key(path)).read_bytes())
        except (OSError, ValueError):
            return None

    def _key(self, path: Path) -> str:
        """The same after the store was moved as a whole."""
        inside = path.relative_to(self._root) if path.is_relative_to(self._root) else path
        return sha256(inside.as_posix().encode("utf-8", "surrogateescape")).hexdigest()[:32]
