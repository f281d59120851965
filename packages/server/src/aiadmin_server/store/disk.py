"""Writing to disk so that nothing half-written is ever visible, and saying in words what went wrong.

Used by everything in the store. Every function may raise `OSError`; `disk_errors` makes a `StoreError` of it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aiadmin_core.errors import StoreError

CHUNK_BYTES = 1 << 20
FICLONE = 0x40049409
"""`_IOW(0x94, 9, int)` of linux/fs.h."""
Report = Callable[[int, int], None]
"""Called with (bytes done, bytes in all), once a chunk."""


def ignore(completed: int, total: int) -> None:
    """A `Report` for who does not care."""


@contextlib.contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StoreError` that says what failed, where, and what to do."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, doing, path) from error


def disk_error(error: OSError, doing: str, path: Path) -> StoreError:
    """The `StoreError` for `error`, which came up while `doing` something in `path`."""
    where = error.filename if isinstance(error.filename, str) else str(path)
    # EFBIG: a quota on file size, or a file system that cannot hold files this large (FAT).
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreError(
            f"The disk is full: could not go on {doing} in '{path}'; {free_bytes(path) / 1e6:,.0f} MB are free.",
            hint="Free some space and repeat the command, or set AIADMIN_MODELS to a folder on another disk.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"No permission for {doing}: '{where}' ({error.strerror}).",
            hint="Run as the folder's owner, correct its permissions, or set AIADMIN_MODELS to a folder of your own.",
        )
    return StoreError(
        f"Could not go on {doing}: '{where}' ({error.strerror or type(error).__name__}).",
        hint="Check the disk and the folder AIADMIN_MODELS names, then repeat the command.",
    )


def need_room(path: Path, n_bytes: int) -> None:
    """Raise `StoreError` if the disk of `path` plainly has no room for `n_bytes`."""
    free = free_bytes(path)
    if free and free < n_bytes:  # some network file systems report 0
        raise StoreError(
            f"There is not enough room on the disk of '{path}': {n_bytes / 1e6:,.0f} MB are needed, "
            f"{free / 1e6:,.0f} MB are free.",
            hint="Free some space and repeat the command, or set AIADMIN_MODELS to a folder on another disk.",
        )


def write_file(path: Path, data: bytes, *, scratch: Path) -> None:
    """Put `data` at `path`, whole or not at all. `scratch` is a folder of ours on the same file system."""
    make_folder(path.parent)
    make_folder(scratch)
    temporary = temporary_path(scratch)
    try:
        with temporary.open("xb") as file:  # the umask decides who may read it: the folder may have another owner
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move(source: Path, destination: Path) -> None:
    """Give a finished, synced file its final name in one step."""
    try:
        source.replace(destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # `blobs` may be a link to another disk: copy to a name that no reader takes for a blob, then rename.
        partial = destination.with_name(f".partial-{destination.name}-{os.getpid()}")
        try:
            copy_hashing(source, partial)
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)
        source.unlink()
    sync_folder(destination.parent)


def bring(source: Path, scratch: Path, *, report: Report = ignore) -> tuple[Path, str]:
    """A copy of the user's file `source` in `scratch`, synced, and its digest.

    Never a hard link: whoever edits the file in place would edit the copy with it. Where the file system shares blocks
    between files (btrfs, XFS, bcachefs), the copy takes no room and no time.
    """
    make_folder(scratch)
    temporary = temporary_path(scratch)
    try:
        if clone(source, temporary):
            sync_file(temporary)
            return temporary, hash_file(temporary, report)
        return temporary, copy_hashing(source, temporary, report)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def share(source: Path, scratch: Path) -> Path:
    """Another name, in `scratch`, for a file of ours that nobody writes to; a copy where there are no hard links."""
    make_folder(scratch)
    temporary = temporary_path(scratch)
    try:
        temporary.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        copy_hashing(source, temporary)
    return temporary


def clone(source: Path, destination: Path) -> bool:
    """Make `destination` a file that shares `source`'s blocks until one of them is written; False where that cannot be
    done (and nothing is left of it). Linux: `ioctl_ficlone(2)`."""
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as reader:
        try:
            with destination.open("xb") as writer:
                fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
        except OSError:
            destination.unlink(missing_ok=True)
            return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each of them durable: a synced file is lost with a folder that is not."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Wait until a finished file is on the disk: a rename may otherwise outlive what it names."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def hash_file(path: Path, report: Report = ignore) -> str:
    """`sha256:<hex>` of a file."""
    return _read_hashing(path, lambda _: None, report)


def copy_hashing(source: Path, destination: Path, report: Report = ignore) -> str:
    """Copy a file, synced, and give the digest of what was copied."""
    with destination.open("wb") as writer:
        digest = _read_hashing(source, writer.write, report)
        writer.flush()
        os.fsync(writer.fileno())
    return digest


def _read_hashing(path: Path, take: Callable[[bytes], object], report: Report) -> str:
    """Read as much as the file has now: one that grows while it is read would never end."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(min(CHUNK_BYTES, total - done)):
            digest.update(chunk)
            take(chunk)
            done += len(chunk)
            report(done, total)
    return "sha256:" + digest.hexdigest()


def sweep(folder: Path, *, older_than_s: float) -> None:
    """Remove what a killed process left in a scratch folder. Never raises."""
    limit = time.time() - older_than_s
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < limit:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_empty_parents(path: Path, *, below: Path) -> None:
    """Remove the folders above `path` that are empty, up to `below`, which stays."""
    for parent in path.parents:
        if parent == below or not parent.is_relative_to(below):
            return
        try:
            parent.rmdir()
        except OSError:
            return


def temporary_path(scratch: Path) -> Path:
    """A name in `scratch` that nobody else has."""
    return scratch / f"{os.getpid()}-{os.urandom(6).hex()}"


def sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows has no such call; some file systems refuse it, and lose only the last rename."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def free_bytes(path: Path) -> int:
    """Of the disk that has, or would have, `path`; 0 where that cannot be told."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0
