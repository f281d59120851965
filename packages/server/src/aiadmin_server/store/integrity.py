"""Whether a model's files and texts are what they should be: doubted before one is loaded, read for `doctor --verify`.

Used by the store alone; what is known of a file, and how it is hashed, is in `stamps` and `checking`.
"""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from aiadmin_core.errors import StoreError
from aiadmin_core.sources import Progress
from aiadmin_core.specs.model import ModelFile, ModelSpec

from .checking import Checks, Doubt
from .disk import ignore
from .manifest import Manifest
from .model import StoredModel
from .stamps import Stamps
from .tree import Tree

KnownEarlier = Callable[[ModelSpec, ModelFile, os.stat_result], bool]
"""Whether an earlier version had found this file right, as it stands."""


class Integrity:
    """Of the files of one store, and of those its models use in place."""

    def __init__(self, root: Path, stamps: Stamps, checks: Checks, known_earlier: KnownEarlier) -> None:
        self._root = root
        self._stamps = stamps
        self._checks = checks
        self._known_earlier = known_earlier

    def doubts(self, spec: ModelSpec) -> tuple[Doubt, ...]:
        """The files of `spec` that were touched since they were last hashed. Each is being hashed from now on, which
        nobody waits for here. (A blob that was never hashed here, because another program put it there, is believed.)

        Raises `StoreError` for a file that is missing, has another size, or is known to hold something else.
        """
        found = (self._doubt(spec, file) for file in spec.files)
        return tuple(doubt for doubt in found if doubt is not None)

    def is_right(self, path: Path, digest: str, *, thorough: bool, progress: Callable[[Progress], None]) -> bool:
        """Whether a file has this digest: as `damage` finds out."""

        def report(completed: int, total: int) -> None:
            progress(Progress(status="verifying sha256 digest", completed=completed, total=total, digest=digest))

        try:
            return self._checks.digest(path, thorough=thorough, report=report) == digest
        except OSError:
            return False

    def damage(
        self, name: str, tree: Tree, manifest: Manifest, *, thorough: bool, progress: Callable[[Progress], None]
    ) -> list[str]:
        """What is wrong with the files and texts of the model `name`, one sentence each: of those that were touched or
        never hashed here, and of all of them where `thorough`. Blocking."""

        def report(completed: int, total: int) -> None:
            progress(Progress(status=f"verifying {name}", completed=completed, total=total))

        found = []
        for layer in manifest.all_layers:
            path = tree.layer_path(layer)
            try:
                digest = self._checks.digest(path, thorough=thorough, report=report if layer.role else ignore)
            except OSError as error:
                found.append(f"its file '{path}' cannot be read ({error.strerror})")
            else:
                if digest != layer.digest:
                    found.append(f"its file '{path}' is damaged, or was changed")
        return found

    def _doubt(self, spec: ModelSpec, file: ModelFile) -> Doubt | None:
        path = Path(file.path)
        external = not path.is_relative_to(self._root)
        again = "`aiadmin doctor --verify` checks the store and says how to repair it" + (
            "; or put the file back." if external else "."
        )

        def wrong(what: str) -> StoreError:
            return StoreError(f"The model '{spec.name}' cannot be used: its file '{path}' {what}.", hint=again)

        try:
            status = path.stat()
            known = self._stamps.digest(path)
        except OSError as error:
            raise wrong(f"cannot be read ({error.strerror})") from error
        if status.st_size != file.size:
            raise wrong(f"has {status.st_size} bytes instead of {file.size}")
        changed = wrong("has changed since it was pulled")
        if known == file.digest:
            return None
        if known is not None:
            raise changed
        if not self._stamps.is_known(path):
            if not external:
                return None
            if self._known_earlier(spec, file, status):
                self._stamps.put(path, status, file.digest)
                return None
        return Doubt(file=file, digest=self._checks.digest_later(path), error=changed)


def repair_command(model: StoredModel, reference: str) -> str:
    """What to do about a damaged model that came from `reference`; "" where nobody knows where it came from."""
    if not reference:
        return f"Fetch '{model.name}' again with the program that did, or `aiadmin rm {model.name}`."
    if reference.startswith("create:"):
        first = f"Repair '{model.made_of}', of which it was made, and make" if model.made_of else "Make"
        return f"{first} it again: `aiadmin create {model.name} -f MODELFILE`; or `aiadmin rm {model.name}`."
    return f"`aiadmin pull {shlex.quote(reference)} --as {model.name} --replace`"
