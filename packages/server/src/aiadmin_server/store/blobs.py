"""Bytes by digest: how a file or a text gets its name in a tree, and when a blob goes.

Only what was written here is ever pruned: each blob of the shared tree that is of our making has a mark in `written`,
in our own tree all are. Used by the store alone, which holds its lock meanwhile.
"""

import contextlib
import os
from pathlib import Path

from aiadmin_core.errors import StoreError

from .adding import Staged
from .disk import make_folder, move, share, write_file
from .stamps import Stamps
from .tree import Tree


class Blobs:
    """The blobs of both trees of a store."""

    def __init__(self, *, shared: Tree, private: Tree, written: Path, stamps: Stamps, scratch: Path) -> None:
        self._shared = shared
        self._private = private
        self._written = written
        self._stamps = stamps
        self._scratch = scratch

    def place(self, tree: Tree, staged: Staged, *, again: bool) -> None:
        """Give a verified file its name in `tree`. A blob that is there already is kept where it is known to be right,
        unless it is to be written `again`; where nobody knows, the verified file takes its place. Of one that stays
        where the user has it, only the digest is kept."""
        if staged.external:
            self._stamps.put(staged.path, staged.status, staged.digest)
            return
        path = tree.blob_path(staged.digest)
        if staged.kept:
            self._keep(tree, staged)
            return
        try:
            if self._stamps.digest(path) == staged.digest and not again:
                return
        except FileNotFoundError:
            self._mark(tree, staged.digest)
        make_folder(path.parent)
        move(staged.path, path)
        self._stamps.put(path, path.stat(), staged.digest)

    def _keep(self, tree: Tree, staged: Staged) -> None:
        """See that a blob of one tree has its name in `tree`, too. Raises `StoreError` where it is gone."""
        path = tree.blob_path(staged.digest)
        if path.exists():
            return
        try:
            shared = share(staged.path, self._scratch)
        except FileNotFoundError as error:
            raise StoreError(
                f"The file {staged.digest[:19]} is not here any more: its model was removed meanwhile.",
                hint="Repeat the command: the model is fetched again.",
            ) from error
        self._mark(tree, staged.digest)
        make_folder(path.parent)
        move(shared, path)
        if self._stamps.digest(staged.path) == staged.digest:
            self._stamps.put(path, path.stat(), staged.digest)

    def place_text(self, tree: Tree, digest: str, data: bytes) -> None:
        """The same for a small blob."""
        path = tree.blob_path(digest)
        try:
            if path.read_bytes() == data:
                return
        except FileNotFoundError:
            self._mark(tree, digest)
        write_file(path, data, scratch=self._scratch)

    def prune(self) -> int:
        """Delete the blobs we wrote that no manifest needs; the bytes that freed. A blob that cannot be deleted (it is
        open, on Windows) is tried again next time. Nothing is deleted while a manifest cannot be read."""
        freed = 0
        with contextlib.suppress(StoreError):
            self._stamps.keep_only({path for tree in (self._shared, self._private) for path in tree.files()})
        for tree, ours in ((self._shared, self._written), (self._private, self._private.blobs)):
            try:
                needed = {tree.blob_path(digest).name for digest in tree.referenced()}
                candidates = set(os.listdir(ours)) - needed  # noqa: PTH208 - names, not paths
            except (StoreError, FileNotFoundError):
                continue
            for name in candidates:
                blob = tree.blobs / name
                with contextlib.suppress(OSError):
                    size = blob.stat().st_size if blob.exists() else 0
                    blob.unlink(missing_ok=True)
                    freed += size
                    (ours / name).unlink(missing_ok=True)
        return freed

    def _mark(self, tree: Tree, digest: str) -> None:
        """Remember, before it is there, that a blob is of our making."""
        if tree is self._shared:
            self._written.mkdir(parents=True, exist_ok=True)
            (self._written / tree.blob_path(digest).name).touch()
