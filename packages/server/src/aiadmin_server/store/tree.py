"""The layout of a models folder: where a name's manifest and a digest's blob lie. Used by the store alone.

A store has two such trees: the shared one, `manifests/` and `blobs/` at its root, which other programs may use as
well; and ours, the same inside `aiadmin/`, for models those programs could not read (several files, files that stay
where the user has them).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from aiadmin_core.errors import InvalidName, StoreError

from .disk import disk_errors
from .manifest import Layer, Manifest, decode_manifest
from .names import ModelName, parse_name

MAX_MANIFEST_BYTES = 4 << 20
MAX_TEXT_BYTES = 1 << 20
"""Of a config, a system message, parameters: what is larger is none of these."""


class Tree:
    """One `manifests/` and `blobs/` pair. Reads take no lock: every write is a rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifests = root / "manifests"
        self.blobs = root / "blobs"

    def spelled(self, name: ModelName) -> ModelName:
        """`name`, each part as a folder on disk already spells it. An exact match is preferred."""
        folder, parts = self.manifests, []
        for part in name:
            present = _entries(folder)
            same = sorted(entry for entry in present if entry.lower() == part.lower())
            parts.append(part if part in present or not same else same[0])
            folder /= parts[-1]
        return ModelName(*parts)

    def manifest_path(self, name: ModelName) -> Path:
        if os.name == "nt" and ":" in name.host:
            raise InvalidName(
                f"'{name.display}' cannot be stored: Windows has no ':' in folder names.",
                hint="Use a host without a port.",
                param="model",
            )
        return self.manifests.joinpath(*name)

    def blob_path(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "-")

    def layer_path(self, layer: Layer) -> Path:
        """Where the bytes of a layer are: in the store, or where the user has them."""
        return Path(layer.path) if layer.path else self.blob_path(layer.digest).absolute()

    def files(self) -> Iterator[Path]:
        """Every file that a manifest names. Raises `StoreError` if one cannot be read."""
        for manifest in self._manifests():
            yield from map(self.layer_path, manifest.all_layers)

    def names(self) -> Iterator[tuple[ModelName, Path]]:
        """Every manifest with its name. Hidden files, and those no name leads to, are passed over."""
        for path in sorted(self.manifests.glob("*/*/*/*")):
            parts = path.relative_to(self.manifests).parts
            try:
                name = parse_name(f"{parts[0]}/{parts[1]}/{parts[2]}:{parts[3]}")
            except InvalidName:
                continue
            if path.is_file():
                yield name, path

    def read_manifest(self, path: Path) -> tuple[Manifest, bytes]:
        """Raises `OSError` or `ValueError`."""
        data = _read(path, MAX_MANIFEST_BYTES)
        return decode_manifest(data), data

    def read_blob(self, digest: str) -> bytes:
        """A small blob. Raises `OSError` or `ValueError`."""
        return _read(self.blob_path(digest), MAX_TEXT_BYTES)

    def referenced(self) -> frozenset[str]:
        """Every digest a manifest needs. Raises `StoreError` if one cannot be read: nobody knows what it needs."""
        return frozenset(digest for manifest in self._manifests() for digest in manifest.digests)

    def _manifests(self) -> Iterator[Manifest]:
        for _, path in self.names():
            try:
                with disk_errors("reading the manifest", path):
                    yield self.read_manifest(path)[0]
            except ValueError as error:
                raise StoreError(f"The manifest '{path}' cannot be read: {error}.") from error


def _entries(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return set()


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return data
