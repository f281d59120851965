"""A model as it leaves the store: its manifest, and where the bytes of its layers lie. Used by the store for pushes."""

from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from .manifest import Layer, Manifest, encode
from .tree import Tree


class Packed(NamedTuple):
    manifest: bytes
    """As it is stored; without the paths of files that lie outside the store, which mean nothing elsewhere."""
    media_type: str
    layers: tuple[tuple[Layer, Path], ...]
    """Each once."""


def pack(tree: Tree, manifest: Manifest, data: bytes) -> Packed:
    """Pure; whether the files are there is not looked at."""
    if any(layer.path for layer in manifest.layers):
        data = encode(replace(manifest, layers=tuple(replace(layer, path="") for layer in manifest.layers)))
    layers = {layer.digest: (layer, tree.layer_path(layer)) for layer in reversed(manifest.all_layers)}
    return Packed(data, manifest.media_type, tuple(reversed(layers.values())))
