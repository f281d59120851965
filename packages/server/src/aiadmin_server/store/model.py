"""A model as the store knows it: read from its manifest, its small blobs and our record of it."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from msgspec import Struct

from aiadmin_core.specs.content import Message
from aiadmin_core.specs.model import ModelFile, ModelFormat

from .defaults import Default, OwnDefaults, sampling_defaults
from .manifest import (
    ABOUT,
    Config,
    Layer,
    Manifest,
    StoredInfo,
    decode_config,
    decode_messages,
    decode_params,
    format_of,
    info_of,
)
from .names import ModelName
from .records import Record
from .tree import Tree

_ENGINE_ROLES = frozenset({"model", "projector", "draft"})
"""Not adapters: requests bring them along, to the engine of the model without."""


class StoredModel(Struct, frozen=True, kw_only=True):
    """One name of the store and what it stands for."""

    name: str
    """As it is shown: `smollm2:latest`."""
    digest: str
    """`sha256:<hex>` of the manifest's bytes."""
    weights_digest: str
    """Of what an engine opens: names that share it share a runner."""
    size: int
    """Bytes of all its files and texts, those outside the store included."""
    modified_at: float
    """Unix time at which the name was given."""
    format: ModelFormat
    files: tuple[ModelFile, ...]
    """With absolute paths. Not checked: `ModelStore.spec` does that."""
    origin: str = ""
    """Where it was pulled from (`pypi:...`, `file:...`); "" where another program put it there."""
    info: StoredInfo = StoredInfo()
    parameters: dict[str, Any] = {}
    """Defaults that came with the model."""
    template: str | None = None
    """A chat template that replaces the one in the files, in Jinja or in Go's language."""
    system: str | None = None
    messages: tuple[Message, ...] = ()
    """Turns that stand before those of every conversation."""
    license: str | None = None
    about: dict[str, str] = {}
    """`requires`, `renderer` and `parser`, as `FetchedModel` has them."""
    own: OwnDefaults = OwnDefaults()
    """What `aiadmin set` stored."""

    @property
    def defaults(self) -> dict[str, Default]:
        """What a request leaves open: sampling and `num_ctx`, by name."""
        return sampling_defaults(
            file=self.info.parameters, model=self.parameters, own=self.own.parameters, model_format=self.format
        )

    @property
    def made_of(self) -> str:
        """The name of the model that it was made of by `aiadmin create`; "" where it was not, or of files."""
        made, _, base = self.origin.partition(":")
        return base if made == "create" and base != "upload" and not base.startswith("file:") else ""

    @property
    def system_message(self) -> str | None:
        """For conversations that have none."""
        return self.system if self.own.system is None else self.own.system or None


def read_model(
    tree: Tree,
    name: ModelName,
    manifest: Manifest,
    record: Record,
    *,
    digest: str,
    modified_at: float,
    own: OwnDefaults = OwnDefaults(),
) -> StoredModel:
    """The model that `manifest`, whose bytes have `digest`, describes.

    A config or text that cannot be read counts as absent: `faults` names it. Raises nothing.
    """
    config = _config(tree, manifest)
    files = tuple(file for layer in manifest.layers if (file := _file(tree, layer)) is not None)
    about = {name: getattr(config, name) for name in ABOUT if getattr(config, name)} if config else {}
    template = record.template or _template(files)
    if template is None and "renderer" not in about:  # where there is one, the layer is a mere stand-in
        template = _text(tree, manifest, "template")
    params = _text(tree, manifest, "params")
    return StoredModel(
        name=name.display,
        digest=digest,
        weights_digest=weights_digest(files, template) or digest,
        size=manifest.config.size + sum(layer.size for layer in manifest.layers),
        modified_at=modified_at,
        format=format_of(manifest, config),
        files=files,
        origin=record.origin,
        info=record.info if record.info != StoredInfo() else info_of(config),
        parameters=_parameters(params),
        template=template,
        system=_text(tree, manifest, "system"),
        messages=_messages(tree, manifest),
        license="\n".join(_texts(tree, manifest, "license")) or None,
        about=about,
        own=own,
    )


def faults(tree: Tree, manifest: Manifest) -> list[str]:
    """What is wrong with the blobs of a manifest, one sentence each."""
    found = []
    for layer in manifest.all_layers:
        if layer.path:
            continue
        path = tree.blob_path(layer.digest)
        try:
            size = path.stat().st_size
        except OSError as error:
            found.append(f"its blob {layer.digest[:19]} cannot be read ({error.strerror})")
        else:
            if layer.size and size != layer.size:
                found.append(f"its blob {layer.digest[:19]} has {size} bytes instead of {layer.size}")
    return found


def weights_digest(files: tuple[ModelFile, ...], template: str | None) -> str:
    """One digest for all that an engine opens; the file's own where that is one file and nothing else; "" where it is
    nothing."""
    opened = [f"{file.role} {file.digest}" for file in files if file.role in _ENGINE_ROLES]
    if not opened:
        return ""
    if template is None and len(opened) == 1:
        return opened[0].partition(" ")[2]
    text = "\n".join([*opened, template or ""])
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _file(tree: Tree, layer: Layer) -> ModelFile | None:
    role = layer.role
    if role is None:
        return None
    path = str(tree.layer_path(layer))
    return ModelFile(role=role, path=path, name=layer.name, size=layer.size, digest=layer.digest)


def _config(tree: Tree, manifest: Manifest) -> Config | None:
    if not manifest.config.digest:
        return None
    try:
        return decode_config(tree.read_blob(manifest.config.digest))
    except (OSError, ValueError):
        return None


def _text(tree: Tree, manifest: Manifest, kind: str) -> str | None:
    layer = manifest.text_layer(kind)
    if layer is None:
        return None
    try:
        return tree.read_blob(layer.digest).decode()
    except (OSError, ValueError):
        return None


def _texts(tree: Tree, manifest: Manifest, kind: str) -> list[str]:
    found: list[str] = []
    for layer in manifest.text_layers(kind):
        with contextlib.suppress(OSError, ValueError):
            found.append(tree.read_blob(layer.digest).decode())
    return found


def _messages(tree: Tree, manifest: Manifest) -> tuple[Message, ...]:
    text = _text(tree, manifest, "messages")
    try:
        return decode_messages(text.encode()) if text else ()
    except ValueError:
        return ()


def _template(files: tuple[ModelFile, ...]) -> str | None:
    for file in files:
        if file.role == "template":
            try:
                return Path(file.path).read_text(encoding="utf-8")
            except (OSError, ValueError):
                return None
    return None


def _parameters(text: str | None) -> dict[str, Any]:
    try:
        return decode_params(text.encode()) if text else {}
    except ValueError:
        return {}
