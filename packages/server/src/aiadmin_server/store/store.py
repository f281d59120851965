"""The model store: which models there are, and the only place that changes that.

    manifests/<host>/<namespace>/<model>/<tag>    what a name stands for
    blobs/sha256-<hex>                            files, by digest
    aiadmin/                                      ours alone; nothing above needs it
      manifests/  blobs/                          models that other programs of this layout could not read
      records/                                    where each model came from, what its header said
      written/                                    a mark for each blob above that we wrote: only those are ever pruned
      aliases.json  pulls/  scratch/  locks/

Used by the server, the command line and `pull`, in several processes at once: whatever changes holds one lock, readers
need none. Everything raises `StoreError` for what the disk does not allow.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace as replace_fields

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import ModelNotFound, StoreError
from aiadmin_core.sources import FetchedModel, Progress
from aiadmin_core.specs.model import ModelFile, ModelSpec

from .adding import Staged, compose, refuse_replacing, stage
from .aliases import Aliases
from .disk import disk_errors, hash_file, move, remove_empty_parents, sweep, write_file
from .locking import locked
from .manifest import digest_of, encode, stored_info
from .model import StoredModel, faults, read_model
from .names import ModelName, parse_name
from .records import Record, Records
from .tree import Tree

STALE_AFTER_S = 24 * 3600.0
__all__ = ["ModelStore", "Problem", "StoredModel"]


class Problem(Struct, frozen=True, kw_only=True):
    """Something in the folder that cannot be used as it is."""

    path: str
    message: str


class ModelStore:
    """The models in one folder. Making one touches nothing: the folder need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        own = self.root / "aiadmin"
        self.shared, self.private = Tree(self.root), Tree(own)
        self.scratch = own / "scratch"
        self.aliases_path = own / "aliases.json"
        """Where `Aliases` of this store are kept."""
        self._records = Records(own / "records", self.scratch)
        self._written = own / "written"
        self._locks = own / "locks"
        self._hashing = threading.Lock()
        """Requests at once for a file that was touched read it once."""
        self._hashed: dict[tuple[str, int], str] = {}
        """Digests by path and modification time, for stores where the record cannot be written."""

    # Reading.

    def models(self) -> list[StoredModel]:
        """Every model, newest first. What cannot be read is left out: `problems` names it."""
        found: dict[ModelName, StoredModel] = {}
        for tree in (self.private, self.shared):  # of two with one name, the shared one counts
            for name, path in tree.names():
                with contextlib.suppress(OSError, ValueError):
                    found[name] = self._read(tree, name, path)
        return sorted(found.values(), key=lambda model: (-model.modified_at, model.name))

    def problems(self) -> list[Problem]:
        """What is wrong with the folder, for `doctor`: unreadable manifests, missing or cut-off blobs."""
        found: list[Problem] = []
        for tree in (self.shared, self.private):
            for _, path in tree.names():
                try:
                    messages = faults(tree, tree.read_manifest(path)[0])
                except (OSError, ValueError) as error:
                    messages = [f"the manifest cannot be read: {error}"]
                found.extend(Problem(path=str(path), message=message) for message in messages)
        return found

    def find(self, name: str) -> StoredModel | None:
        """The model of this name, in whatever case it is written. Raises `InvalidName`."""
        return self._find(parse_name(name))

    def spec(self, model: StoredModel) -> ModelSpec:
        """`model` as a backend opens it, its files checked: they exist and have their size, and one that lies outside
        the store and was touched since still has its digest (which takes a second a gigabyte)."""
        for file in model.files:
            self._check(model, file)
        return ModelSpec(
            name=model.name,
            digest=model.weights_digest,
            format=model.format,
            files=model.files,
            template=model.template,
            system=model.system,
            parameters=model.parameters,
        )

    # Changing.

    def copy(self, source: str, destination: str) -> StoredModel:
        """Let `destination` name what `source` names; at once, the files are shared. A model of that name gives way.

        Raises `ModelNotFound`, `InvalidName`.
        """
        wanted = parse_name(destination)
        with self._lock("copying a model"):
            model = self.find(source)
            if model is None:
                raise self._absent(source)
            name = self._spelled(parse_name(source))
            target = self._spelled(wanted)
            if target != name:
                tree = self._tree_of(name)
                _, data = tree.read_manifest(tree.manifest_path(name))
                self._publish(tree, target, data, self._records.get(name, digest_of(data)))
            copied = self._find(target)
        assert copied is not None
        return copied

    def remove(self, name: str) -> int:
        """Forget a name, and delete the blobs we wrote that no other name needs. Returns the bytes that freed.

        Raises `ModelNotFound`, `InvalidName`.
        """
        wanted = parse_name(name)
        with self._lock("removing a model"):
            spelled = self._spelled(wanted)
            paths = [(tree, tree.manifest_path(spelled)) for tree in (self.shared, self.private)]
            present = [(tree, path) for tree, path in paths if path.is_file()]
            if not present:
                raise self._absent(name, "`aiadmin list` shows the models that are here.")
            for tree, path in present:
                path.unlink()
                remove_empty_parents(path, below=tree.manifests)
            self._records.remove(spelled)
            return self._prune()

    def add(
        self,
        name: str,
        fetched: FetchedModel,
        *,
        replace: bool = False,
        progress: Callable[[Progress], None] = lambda _: None,
        info: ModelInfo | None = None,
        expected_digest: str = "",
    ) -> StoredModel:
        """Make what a source fetched a model: its files verified and named by digest, then its manifest, in one step.

        `expected_digest` is the first model file's. Files inside our own folder are moved, the user's are linked or
        copied, or stay where they are. A model of that name is replaced if it came from the same origin, or with
        `replace`. Raises `PullFailed` for a wrong digest, `ModelExists`.
        """
        wanted = parse_name(name)
        with disk_errors("storing the model's files", self.root):
            sweep(self.scratch, older_than_s=STALE_AFTER_S)
            staged = stage(
                fetched, scratch=self.scratch, own=self.private.root, owner=self._owner(), expected=expected_digest,
                progress=progress,
            )  # fmt: skip
            try:
                with self._lock("storing a model"):
                    progress(Progress(status="writing manifest"))
                    return self._add(wanted, fetched, staged, info, replace=replace)
            finally:
                for one in staged:
                    one.discard()

    def intact(self, model: StoredModel) -> bool:
        """Whether all files of `model` are where and what they should be."""
        try:
            self.spec(model)
        except StoreError:
            return False
        return True

    def workdir(self, reference: str) -> Path:
        """Where a pull of `reference` keeps what it has so far; the same folder each time. Not made here."""
        return self.private.root / "pulls" / digest_of(reference.encode())[7:23]

    def pull_lock(self, reference: str, *, waiting: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Held by the one who pulls `reference`; `waiting` is called if that is somebody else."""
        path = self._locks / f"pull-{self.workdir(reference).name}.lock"
        return locked(path, doing="pulling", waiting=waiting)

    def _add(
        self, wanted: ModelName, fetched: FetchedModel, staged: list[Staged], info: ModelInfo | None, *, replace: bool
    ) -> StoredModel:
        name = self._spelled(wanted)
        existing = self._find(name)
        if existing is not None and not replace:
            refuse_replacing(existing, fetched.origin)
        composed = compose(fetched, staged, info)
        tree = self.shared if composed.shared else self.private
        for one in staged:
            if not one.external:
                self._place(tree, one)
        for digest, data in composed.texts.items():
            self._place_text(tree, digest, data)
        record = Record(
            origin=fetched.origin,
            info=stored_info(info),
            template=fetched.template,
            mtimes={str(one.path): one.mtime_ns for one in staged if one.external},
        )
        self._publish(tree, name, encode(composed.manifest), record)
        added = self._find(name)
        assert added is not None
        return added

    def _publish(self, tree: Tree, name: ModelName, data: bytes, record: Record) -> None:
        """Let `name` stand for the manifest `data`. Its blobs are in place."""
        path = tree.manifest_path(name)
        # The record goes first: a model whose origin is unknown could not be pulled again without being told to.
        self._records.put(name, replace_fields(record, manifest=digest_of(data)))
        write_file(path, data, scratch=self.scratch)
        other = self.private if tree is self.shared else self.shared
        former = other.manifest_path(name)
        if former.is_file():
            former.unlink()
            remove_empty_parents(former, below=other.manifests)
        self._prune()

    def _place(self, tree: Tree, staged: Staged) -> None:
        """Give a verified file its name in `tree`, unless the blob is there already."""
        path = tree.blob_path(staged.digest)
        try:
            if path.stat().st_size == staged.size:
                return
        except FileNotFoundError:
            self._mark(tree, staged.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        move(staged.path, path)

    def _place_text(self, tree: Tree, digest: str, data: bytes) -> None:
        path = tree.blob_path(digest)
        if not path.exists():
            self._mark(tree, digest)
            write_file(path, data, scratch=self.scratch)

    def _mark(self, tree: Tree, digest: str) -> None:
        """Remember, before it is there, that a blob is of our making."""
        if tree is self.shared:
            self._written.mkdir(parents=True, exist_ok=True)
            (self._written / tree.blob_path(digest).name).touch()

    def _prune(self) -> int:
        """Delete the blobs we wrote that no manifest needs; the bytes that freed. A blob that cannot be deleted (it is
        open, on Windows) is tried again next time. Nothing is deleted while a manifest cannot be read."""
        freed = 0
        for tree, ours in ((self.shared, self._written), (self.private, self.private.blobs)):
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

    # Names.

    def _absent(self, name: str, hint: str | None = None) -> ModelNotFound:
        alias = Aliases(self.aliases_path).get(name)
        return ModelNotFound(name, hint=f"It is an alias of '{alias.target}', not a model." if alias else hint)

    def _find(self, name: ModelName) -> StoredModel | None:
        spelled = self._spelled(name)
        tree = self._tree_of(spelled)
        try:
            return self._read(tree, spelled, tree.manifest_path(spelled))
        except (OSError, ValueError):
            return None

    def _read(self, tree: Tree, name: ModelName, path: Path) -> StoredModel:
        modified_at = path.stat().st_mtime
        manifest, data = tree.read_manifest(path)
        digest = digest_of(data)
        record = self._records.get(name, digest)
        return read_model(tree, name, manifest, record, digest=digest, modified_at=modified_at)

    def _spelled(self, name: ModelName) -> ModelName:
        return self.private.spelled(self.shared.spelled(name))

    def _tree_of(self, name: ModelName) -> Tree:
        return self.shared if self.shared.manifest_path(name).is_file() else self.private

    @contextlib.contextmanager
    def _lock(self, doing: str) -> Iterator[None]:
        with locked(self._locks / "store.lock", doing=doing), disk_errors(doing, self.root):
            yield

    def _owner(self) -> int:
        """Uid of whoever owns the folder: what we write must be readable to them."""
        self.shared.blobs.mkdir(parents=True, exist_ok=True)
        return self.shared.blobs.stat().st_uid

    def _check(self, model: StoredModel, file: ModelFile) -> None:
        path = Path(file.path)
        external = not path.is_relative_to(self.root)
        again = f"Run `aiadmin pull` for '{model.name}' again" + (", or put the file back." if external else ".")
        try:
            stat = path.stat()
        except OSError as error:
            raise StoreError(
                f"The model '{model.name}' cannot be used: its file '{path}' cannot be read ({error.strerror}).",
                hint=again,
            ) from error
        if stat.st_size != file.size:
            raise StoreError(
                f"The model '{model.name}' cannot be used: its file '{path}' has {stat.st_size} bytes instead of "
                f"{file.size}.",
                hint=again,
            )
        if external:
            self._check_touched(model, file, stat.st_mtime_ns, again)

    def _check_touched(self, model: StoredModel, file: ModelFile, mtime_ns: int, again: str) -> None:
        name = self._spelled(parse_name(model.name))
        record = self._records.get(name, model.digest)
        if record.mtimes.get(file.path) == mtime_ns:
            return
        with self._hashing:
            if self._hashed.get((file.path, mtime_ns)) != file.digest:
                with disk_errors("reading the model", Path(file.path)):
                    self._hashed[file.path, mtime_ns] = hash_file(Path(file.path))
            digest = self._hashed[file.path, mtime_ns]
        if digest != file.digest:
            raise StoreError(
                f"The model '{model.name}' cannot be used: its file '{file.path}' has changed since it was pulled.",
                hint=again,
            )
        if record.manifest:
            mtimes = record.mtimes | {file.path: mtime_ns}
            with contextlib.suppress(OSError):  # only saves the next check
                self._records.put(name, replace_fields(record, mtimes=mtimes))
