"""The model store: which models there are, and the only place that changes that.

    manifests/<host>/<namespace>/<model>/<tag>    what a name stands for
    blobs/sha256-<hex>                            files, by digest
    aiadmin/                                      ours alone; nothing above needs it
      manifests/  blobs/                          models that other programs of this layout could not read
      defaults/                                   what `aiadmin set` stored
      records/                                    where each model came from, what its header said
      written/                                    a mark for each blob above that we wrote: only those are ever pruned
      verified/                                   digests that were computed, and what the file looked like then
      aliases.json  pulls/  uploads/  scratch/  locks/

Used by the server, the command line and `pull`, in several processes at once: whatever changes holds one lock, readers
need none. Everything raises `StoreError` for what the disk does not allow.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace as replace_fields

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import ModelExists, ModelNotFound, StoreError
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_core.specs.model import ModelFile, ModelSpec

from .adding import Known, Staged, compose, refuse_replacing, stage
from .aliases import Aliases
from .blobs import Blobs
from .checking import Checks, Doubt, HashFile
from .defaults import OwnDefaults, OwnDefaultsFolder
from .disk import disk_errors, hash_file, make_folder, remove_empty_parents, sweep, write_file
from .integrity import Integrity, repair_command
from .locking import locked
from .manifest import digest_of, is_digest, stored_info
from .model import StoredModel, faults, read_model
from .names import ModelName, parse_name
from .packing import Packed, pack
from .records import Record, Records
from .stamps import Stamps
from .tree import Tree
from .uploads import Uploads

STALE_AFTER_S = 24 * 3600.0
__all__ = ["ModelStore", "Problem", "StoredModel"]


class Problem(Struct, frozen=True, kw_only=True):
    """Something in the folder that cannot be used as it is."""

    path: str
    message: str
    hint: str = ""


class ModelStore:
    """The models in one folder. Making one touches nothing: the folder need not exist."""

    def __init__(self, root: Path, *, hash_file: HashFile = hash_file) -> None:
        self.root = root.absolute()
        own = self.root / "aiadmin"
        self.shared, self.private = Tree(self.root), Tree(own)
        self.scratch = own / "scratch"
        self.aliases_path = own / "aliases.json"
        """Where `Aliases` of this store are kept."""
        self._records = Records(own / "records", self.scratch)
        self._defaults = OwnDefaultsFolder(own / "defaults", self.scratch)
        self._pulls = own / "pulls"
        self._locks = own / "locks"
        self.uploads = Uploads(own / "uploads")
        self._stamps = stamps = Stamps(own / "verified", root=self.root, scratch=self.scratch)
        self._blobs = Blobs(
            shared=self.shared, private=self.private, written=own / "written", stamps=stamps, scratch=self.scratch
        )
        self._integrity = Integrity(self.root, stamps, Checks(stamps, hash_file), self._found_right_by_earlier_version)

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
            for name, path in tree.names():
                try:
                    messages = faults(tree, tree.read_manifest(path)[0])
                except (OSError, ValueError) as error:
                    messages = [f"the manifest cannot be read: {error}"]
                try:
                    self._defaults.read(name)
                except StoreError as error:
                    messages.append(error.message)
                found.extend(Problem(path=str(path), message=message) for message in messages)
        return found

    def find(self, name: str) -> StoredModel | None:
        """The model of this name, in whatever case it is written. Raises `InvalidName`."""
        return self._find(parse_name(name))

    def spec(self, model: StoredModel) -> ModelSpec:
        """`model` as a backend opens it, its files checked; waits while one of them is hashed (a second a gigabyte).

        Raises `StoreError` for a file that is not what it should be.
        """
        spec = self.unchecked_spec(model)
        for doubt in self.doubts(spec):
            doubt.judge(doubt.digest.result())
        return spec

    def doubts(self, spec: ModelSpec) -> tuple[Doubt, ...]:
        """The files of `spec` that were touched since they were last hashed. Each is being hashed from now on, which
        nobody waits for here. (A blob that was never hashed here, because another program put it there, is believed.)

        Raises `StoreError` for a file that is missing, has another size, or is known to hold something else.
        """
        return self._integrity.doubts(spec)

    def unchecked_spec(self, model: StoredModel) -> ModelSpec:
        """`model` as a backend opens it, its files not looked at."""
        return ModelSpec(
            name=model.name,
            digest=model.weights_digest,
            format=model.format,
            files=model.files,
            template=model.template,
            system=model.system_message,
            messages=model.messages,
            parameters={name: default.value for name, default in model.defaults.items()},
        )

    # Changing.

    def copy(self, source: str, destination: str, *, replace: bool = True) -> StoredModel:
        """Let `destination` name what `source` names; at once, the files are shared. A model or alias of that name
        gives way; without `replace`, only where nothing is lost by that: the model has another name.

        Raises `ModelNotFound`, `InvalidName`, `ModelExists`.
        """
        wanted = parse_name(destination)
        with self._lock("copying a model"):
            model = self.find(source)
            if model is None:
                raise self._absent(source)
            name = self._spelled(parse_name(source))
            target = self._spelled(wanted)
            if target != name:
                if not replace:
                    self._refuse_losing(target, model)
                if self._find(target) is None:
                    self._give_way(destination, replace=replace)
                tree = self._tree_of(name)
                _, data = tree.read_manifest(tree.manifest_path(name))
                self._publish(tree, target, data, self._records.get(name, digest_of(data)))
                self._defaults.put(target, self._defaults.get(name))
            copied = self._find(target)
        assert copied is not None
        return copied

    def _refuse_losing(self, target: ModelName, source: StoredModel) -> None:
        """Raise `ModelExists` where giving `target` to `source` would lose what no other name stands for."""
        there = self._find(target)
        if there is None:
            return
        others = [model for model in self.models() if model.name != there.name]
        if any((model.digest, model.own) == (there.digest, there.own) for model in others):
            return
        if (source.digest, OwnDefaults()) == (there.digest, there.own):
            return
        raise ModelExists(
            f"'{there.name}' is the only name of another model, from {there.origin or 'another program'}.",
            hint="Replace it with `--replace`, or give that model another name first: "
            f"`aiadmin cp {there.name} OTHER`.",
        )

    def _give_way(self, name: str, *, replace: bool) -> None:
        """Make sure that no alias has the name a model is about to get: the model would hide it. Raises `ModelExists`
        where there is one, unless it is to be removed."""
        aliases = Aliases(self.aliases_path)
        alias = aliases.get(name)
        if alias is None:
            return
        if not replace:
            raise ModelExists(
                f"'{name}' is an alias of '{alias.target}', which a model of this name would hide.",
                hint=f"Choose another name, or replace it with `--replace`; `aiadmin alias set {name} MODEL` points it "
                "elsewhere.",
            )
        aliases.remove(name)

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
            self._defaults.remove(spelled)
            return self._blobs.prune()

    def set_defaults(self, name: str, change: Callable[[OwnDefaults], OwnDefaults]) -> StoredModel:
        """Change what is stored of how `name` is used where a request leaves it open.

        Raises `ModelNotFound`, `InvalidName`, `StoreError` where what is stored cannot be read, and what `change` does.
        """
        wanted = parse_name(name)
        with self._lock("storing defaults"):
            if self._find(wanted) is None:
                raise self._absent(name, "`aiadmin list` shows the models that are here.")
            spelled = self._spelled(wanted)
            self._defaults.put(spelled, change(self._defaults.read(spelled)))
            changed = self._find(wanted)
        assert changed is not None
        return changed

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

        `expected_digest` is the first model file's. Files that were fetched into our own folder are moved, the user's
        are copied, or stay where they are. A model of that name is replaced if it came from the same origin, or with
        `replace`. Raises `PullFailed` for a wrong digest, `ModelExists`.
        """
        wanted = parse_name(name)
        with disk_errors("storing the model's files", self.root):
            make_folder(self.shared.blobs)  # what cannot be written is said before gigabytes are copied
            sweep(self.scratch, older_than_s=STALE_AFTER_S)
            staged = stage(
                fetched, scratch=self.scratch, fetched_into=self._pulls, root=self.root, expected=expected_digest,
                known=self._known, progress=progress,
            )  # fmt: skip
            try:
                with self._lock("storing a model"):
                    progress(Progress(status="writing manifest"))
                    return self._add(wanted, fetched, staged, info, replace=replace)
            finally:
                for one in staged:
                    one.discard()

    def packed(self, name: str) -> Packed:
        """A model as it may be taken elsewhere. Raises `ModelNotFound`, `StoreError` where it cannot be read."""
        spelled = self._spelled(parse_name(name))
        tree = self._tree_of(spelled)
        path = tree.manifest_path(spelled)
        if not path.is_file():
            raise self._absent(name, "`aiadmin list` shows the models that are here.")
        with disk_errors("reading the model", path):
            try:
                manifest, data = tree.read_manifest(path)
            except ValueError as error:
                raise StoreError(f"The manifest of '{name}' cannot be read: {error}.") from error
        return pack(tree, manifest, data)

    def intact(
        self, model: StoredModel, *, thorough: bool = False, progress: Callable[[Progress], None] = lambda _: None
    ) -> bool:
        """Whether all files and texts of `model` are what they should be: those that were touched, or never hashed
        here, are hashed, and all of them where `thorough`. Blocking."""
        return not self._damage(parse_name(model.name), thorough=thorough, progress=progress)

    def verify(
        self,
        progress: Callable[[Progress], None] = lambda _: None,
        *,
        repair: Callable[[StoredModel], str] = lambda model: repair_command(model, model.origin),
    ) -> list[Problem]:
        """Hash every file of every model, and say which are not what they should be, with what `repair` says of each.
        Blocking, a second a gigabyte."""
        found: list[Problem] = []
        for model in self.models():
            damage = self._damage(parse_name(model.name), thorough=True, progress=progress)
            found.extend(Problem(path=model.name, message=message, hint=repair(model)) for message in damage)
        return found

    def blob(self, digest: str) -> Path | None:
        """The file with this digest, where it is a blob or was uploaded."""
        places = [self.shared.blob_path(digest), self.private.blob_path(digest), self.uploads.path(digest)]
        return next((path for path in places if path.is_file()), None)

    def held(self, digests: Iterable[str], *, thorough: bool, progress: Callable[[Progress], None]) -> dict[str, Path]:
        """Those of `digests` of which the store has a file that is what it should be, whichever model it belongs to.
        Files that were touched, or never hashed here, are hashed, and all of them where `thorough`. Blocking."""
        found = {}
        for digest in digests:
            path = self.blob(digest)
            if path and self._integrity.is_right(path, digest, thorough=thorough, progress=progress):
                found[digest] = path
        return found

    def _known(self, file: FetchedFile) -> Known | None:
        """What is known of a file by where it lies; of the user's own, by `file.digest` and when that was computed."""
        digest = file.path.name.replace("-", ":", 1)
        if is_digest(digest):
            if file.path.parent in (self.shared.blobs, self.private.blobs):
                return Known(digest=digest, how="blob")
            if file.path == self.uploads.path(digest):
                return Known(digest=digest, how="upload")
        if file.keep_in_place and file.digest and self._stamps.digest(file.path) == file.digest:
            return Known(digest=file.digest, how="in place")
        return None

    def workdir(self, reference: str) -> Path:
        """Where a pull of `reference` keeps what it has so far; the same folder each time. Not made here."""
        return self._pulls / digest_of(reference.encode())[7:23]

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
        if existing is None:
            self._give_way(wanted.display, replace=replace)
        composed = compose(fetched, staged, info)
        tree = self.shared if composed.shared else self.private
        for one in staged:
            self._blobs.place(tree, one, again=replace)
        for digest, data in composed.texts.items():
            self._blobs.place_text(tree, digest, data)
        record = Record(origin=fetched.origin, info=stored_info(info))
        self._publish(tree, name, composed.manifest, record)
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
        self._blobs.prune()

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
        own = self._defaults.get(name)
        return read_model(tree, name, manifest, record, digest=digest, modified_at=modified_at, own=own)

    def _spelled(self, name: ModelName) -> ModelName:
        return self.private.spelled(self.shared.spelled(name))

    def _tree_of(self, name: ModelName) -> Tree:
        return self.shared if self.shared.manifest_path(name).is_file() else self.private

    @contextlib.contextmanager
    def _lock(self, doing: str) -> Iterator[None]:
        with locked(self._locks / "store.lock", doing=doing), disk_errors(doing, self.root):
            yield

    def _found_right_by_earlier_version(self, spec: ModelSpec, file: ModelFile, status: os.stat_result) -> bool:
        model = self.find(spec.name)
        if model is None:
            return False
        record = self._records.get(self._spelled(parse_name(spec.name)), model.digest)
        return record.mtimes.get(file.path) == status.st_mtime_ns

    def _damage(self, name: ModelName, *, thorough: bool, progress: Callable[[Progress], None]) -> list[str]:
        """What is wrong with the files and texts of a model, one sentence each."""
        spelled = self._spelled(name)
        tree = self._tree_of(spelled)
        try:
            manifest, _ = tree.read_manifest(tree.manifest_path(spelled))
        except (OSError, ValueError) as error:
            return [f"its manifest cannot be read: {error}"]
        return self._integrity.damage(name.display, tree, manifest, thorough=thorough, progress=progress)
