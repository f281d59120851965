"""How a fetched model becomes files by digest and a manifest. Used by `ModelStore.add`, outside its lock where it takes
time (hashing, copying), inside where it is only values."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import ModelExists, PullFailed
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_core.specs.model import FileRole
from aiadmin_core.text.template import language_of

from .disk import bring, hash_file, share, sync_file
from .manifest import (
    CONFIG_TYPE,
    LAYER_TYPE,
    Layer,
    Manifest,
    config_of,
    digest_of,
    encode,
    encode_messages,
    is_shared_role,
    media_type,
)
from .model import StoredModel


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A verified file, ready to be given its name."""

    path: Path
    role: FileRole
    name: str
    digest: str
    size: int
    external: bool
    """It stays where it is."""
    temporary: bool
    """`path` is a scratch file of ours."""
    kept: bool = False
    """`path` is a blob of the store already."""
    status: os.stat_result
    """Of `path`, from before it was hashed."""

    def discard(self) -> None:
        """Clean up; after the file was moved to its place there is nothing left to do."""
        if self.temporary:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the store knows of a file, so that it need not be read again."""

    digest: str
    how: Literal["blob", "upload", "in place"]
    """A blob of either tree, which another model may have; a file that a client sent, which other models may be made
    of; a file of the user's, which was hashed before."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """What is to be written for a model."""

    manifest: bytes
    texts: dict[str, bytes]
    """Small blobs by digest."""
    shared: bool
    """Whether other programs of the layout can read it."""


def stage(
    fetched: FetchedModel,
    *,
    scratch: Path,
    fetched_into: Path,
    root: Path,
    expected: str,
    known: Callable[[FetchedFile], Known | None],
    progress: Callable[[Progress], None],
) -> list[Staged]:
    """Hash every file but those that are `known`. What a source fetched into `fetched_into` may be moved on; of what
    lies elsewhere a copy is brought into `scratch`, unless it is to stay in place. (A file inside the store, `root`, is
    copied in any case: the model it belongs to may be removed.)

    `expected` is the digest of the first model file, "" where unknown. Raises `PullFailed`, `OSError`.
    """
    first = next((file for file in fetched.files if file.role == "model"), None)
    if not fetched.files or (first is None and fetched.format in ("gguf", "safetensors")):
        raise PullFailed("The source delivered no model file.", hint="Check the reference, or report it to the source.")
    staged: list[Staged] = []
    try:
        for file in fetched.files:
            staged.append(
                _stage_known(file, known(file), scratch) or _stage(file, scratch, fetched_into, root, progress)
            )
            promised = (file.digest, expected if file is first else "")
            _verify(staged[-1], [digest for digest in promised if digest])
    except BaseException:
        for one in staged:
            one.discard()
        raise
    return staged


def compose(fetched: FetchedModel, staged: list[Staged], info: ModelInfo | None) -> Composed:
    """The manifest of a model, and the small blobs it needs: those that came with it, or such as say what is known of
    it. Pure."""
    shared = (
        fetched.format == "gguf"
        and all(is_shared_role(one.role) and not one.external for one in staged)
        and sum(one.role == "model" for one in staged) == 1
        and not _is_jinja(fetched.template)
    )
    if fetched.manifest:
        texts = {digest_of(text): text for text in fetched.texts}
        named = any(file.name for file in fetched.files)
        return Composed(manifest=fetched.manifest, texts=texts, shared=shared and not named)
    config = config_of(fetched.format, info, fetched.about)
    texts = {digest_of(config): config}
    layers = [_layer(one, named=not shared) for one in staged]
    for kind, data in text_layers(fetched).items():
        texts[digest_of(data)] = data
        layers.append(Layer(media_type=kind, digest=digest_of(data), size=len(data)))
    manifest = Manifest(
        config=Layer(media_type=CONFIG_TYPE, digest=digest_of(config), size=len(config)), layers=tuple(layers)
    )
    return Composed(manifest=encode(manifest), texts=texts, shared=shared)


def text_layers(fetched: FetchedModel) -> dict[str, bytes]:
    """What is not in files, by media type. The layout's own templates are in Go's language; one in Jinja is ours
    alone."""
    template = (fetched.template or "").encode()
    kinds = {
        media_type("template") if _is_jinja(fetched.template) else LAYER_TYPE + "template": template,
        LAYER_TYPE + "system": (fetched.system or "").encode(),
        LAYER_TYPE + "params": encode(fetched.parameters) if fetched.parameters else b"",
        LAYER_TYPE + "messages": encode_messages(fetched.messages) if fetched.messages else b"",
        LAYER_TYPE + "license": (fetched.license or "").encode(),
    }
    return {kind: data for kind, data in kinds.items() if data}


def _is_jinja(template: str | None) -> bool:
    return bool(template) and language_of(template or "") == "jinja"


def refuse_replacing(existing: StoredModel, origin: str) -> None:
    """Raise `ModelExists` unless `existing` came from `origin`."""
    if existing.origin != origin:
        came = f"came from {existing.origin}" if existing.origin else "was put there by another program"
        raise ModelExists(
            f"There is a model '{existing.name}' already; it {came}, and this is {origin or 'another one'}.",
            hint="Choose another name with `--as`, or replace it with `--replace`.",
        )


def _stage(
    file: FetchedFile, scratch: Path, fetched_into: Path, root: Path, progress: Callable[[Progress], None]
) -> Staged:
    def report(completed: int, total: int) -> None:
        progress(Progress(status="verifying sha256 digest", completed=completed, total=total))

    path = file.path.resolve()
    if not path.is_file():
        raise PullFailed(f"'{file.path}' is no file.", hint="Check the path.")
    external = file.keep_in_place and not path.is_relative_to(root.resolve())
    temporary = not external and not path.is_relative_to(fetched_into.resolve())
    before = path.stat()
    if temporary:
        staged, digest = bring(path, scratch, report=report)
        status = staged.stat()
    else:
        if not external:
            sync_file(path)
        staged, status = path, before
        digest = hash_file(path, report)
    after = path.stat()
    if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        if temporary:
            staged.unlink()
        raise PullFailed(f"'{path}' was written while it was read.", hint="Pull it again when it is complete.")
    return Staged(
        path=staged,
        role=file.role,
        name=file.name or file.path.name,
        digest=digest,
        size=status.st_size,
        external=external,
        temporary=temporary,
        status=status,
    )


def _stage_known(file: FetchedFile, known: Known | None, scratch: Path) -> Staged | None:
    """A file whose digest nobody need compute; None where somebody must."""
    if known is None:
        return None
    path = share(file.path, scratch) if known.how == "upload" else file.path
    status = path.stat()
    return Staged(
        path=path,
        role=file.role,
        name=file.name or file.path.name,
        digest=known.digest,
        size=status.st_size,
        external=known.how == "in place",
        temporary=known.how == "upload",
        kept=known.how == "blob",
        status=status,
    )


def _verify(staged: Staged, promised: list[str]) -> None:
    for digest in promised:
        if staged.digest != digest:
            raise PullFailed(
                f"'{staged.name}' is not the file it should be: its digest is {staged.digest} instead of {digest}.",
                hint="The download was damaged or the source delivers something else by now: pull it again, and do not "
                "use the file if the same happens.",
            )


def _layer(staged: Staged, *, named: bool) -> Layer:
    return Layer(
        media_type=media_type(staged.role),
        digest=staged.digest,
        size=staged.size,
        name=staged.name if named else "",
        path=str(staged.path) if staged.external else "",
    )
