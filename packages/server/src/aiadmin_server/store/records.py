"""What we know of a model that its manifest does not say: a small JSON file per name in `aiadmin/records/`.

Nothing needs it: a record that is missing, broken, or about an earlier manifest of the name is as good as none. Used by
the store alone.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from .disk import remove_empty_parents, write_file
from .manifest import StoredInfo, encode
from .names import ModelName


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """About one name."""

    manifest: str = ""
    """Digest of the manifest this is about."""
    origin: str = ""
    """Where the model was pulled from."""
    info: StoredInfo = StoredInfo()
    template: str | None = None
    """Written by earlier versions: a Jinja chat template that replaces the one in the files."""
    mtimes: dict[str, int] = {}
    """Written by earlier versions, which had no `Stamps`, of files outside the store: path -> modification time (ns) at
    which its digest was last found right."""


_decoder = msgspec.json.Decoder(Record)
_NOTHING = Record()


class Records:
    """The folder of records."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.scratch = scratch

    def get(self, name: ModelName, manifest: str) -> Record:
        """What is known of `name` while it stands for `manifest`. Never raises."""
        try:
            record = _decoder.decode(self._path(name).read_bytes())
        except (OSError, ValueError):
            return _NOTHING
        return record if record.manifest == manifest else _NOTHING

    def put(self, name: ModelName, record: Record) -> None:
        """Raises `OSError`."""
        write_file(self._path(name), encode(record), scratch=self.scratch)

    def remove(self, name: ModelName) -> None:
        """Raises `OSError`."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        remove_empty_parents(path, below=self.root)

    def _path(self, name: ModelName) -> Path:
        return self.root.joinpath(*name).with_name(f"{name.tag}.json")
