"""Files that clients sent, by digest, until a model is made of them: `aiadmin/uploads/sha256-<hex>`.

They are no blobs: nothing needs them yet, and they must neither be pruned before their model is made nor stay for ever.
A model that is made of one gets another name for the same bytes, so that several can be made of it. What nobody asked
for in a day goes. Thread-safe.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO

from aiadmin_core.errors import BadRequest

from .disk import disk_errors, make_folder, move, need_room, sweep, temporary_path

KEPT_S = 24 * 3600.0


class Uploads:
    """The folder of uploads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the file with this digest is, once it is here."""
        return self.folder / digest.replace(":", "-")

    def keep(self, digest: str) -> None:
        """Somebody asked for it: it stays another day. (Where it is a blob by now it is left alone, or it would look as
        if it had been written to.) Never raises."""
        with contextlib.suppress(OSError):
            if self.path(digest).stat().st_nlink == 1:
                os.utime(self.path(digest))

    def begin(self, digest: str, size: int) -> "Upload":
        """A file that comes piece by piece; `size` is how large it will be, 0 where nobody knows. Raises `StoreError`
        where the disk has no room."""
        with disk_errors("storing an upload", self.folder):
            make_folder(self.folder)
            sweep(self.folder, older_than_s=KEPT_S)
            need_room(self.folder, size)
            return Upload(digest, temporary_path(self.folder), self.path(digest))


class Upload:
    """One file on its way. Its calls come one after another; each may block."""

    def __init__(self, digest: str, temporary: Path, path: Path) -> None:
        self._digest = digest
        self._temporary = temporary
        self._path = path
        self._hash = hashlib.sha256()
        self._file: BinaryIO = temporary.open("xb")

    def write(self, data: bytes) -> None:
        """Raises `StoreError`."""
        with disk_errors("storing an upload", self._path):
            self._hash.update(data)
            self._file.write(data)

    def finish(self) -> None:
        """Give the file its name. Raises `BadRequest` where it has another digest, `StoreError`."""
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._digest:
            raise BadRequest(
                f'digest mismatch, expected "{self._digest}", got "{found}"',
                hint="Send the file again: it changed on its way, or while its digest was computed.",
                param="digest",
            )
        with disk_errors("storing an upload", self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.utime(self._temporary, (time.time(), time.time()))
            move(self._temporary, self._path)

    def discard(self) -> None:
        """Clean up; after `finish` there is nothing left to do. Never raises."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
