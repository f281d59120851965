"""What a recipe's FROM names, as files with what goes with them: a model that is here or is pulled, a path, uploads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from aiadmin_core.backend import Backend, ModelInfo
from aiadmin_core.errors import AiAdminError, BadRequest, NotAllowed
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Progress
from aiadmin_core.specs.model import FileRole

from ..pull import pull
from ..sources.local import CONFIG_FILES, TOKENIZER_FILES, LocalSource, local_path
from ..store.aliases import Aliases
from ..store.manifest import is_digest
from ..store.store import ModelStore, StoredModel
from .recipe import Recipe

PROJECTOR = "clip"
"""The architecture of a GGUF that reads images for another one."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where models are made, and for whom."""

    store: ModelStore
    plugins: Plugins
    progress: Callable[[Progress], None]
    caller: Caller = field(default_factory=Caller)
    folder: Path | None = None
    """What relative paths begin at; None where paths mean nothing."""

    @property
    def backends(self) -> Mapping[str, Backend]:
        return self.plugins.backends()


def base_of(recipe: Recipe, shop: Workshop) -> tuple[FetchedModel, str]:
    """The model that `recipe` begins with, and where it comes from. Raises `AiAdminError`."""
    if recipe.files:
        return _uploaded(recipe.files, shop), "upload"
    if not recipe.bases:
        raise BadRequest("Nothing says what the model is made of.", hint="Name a model in 'from'.", param="from")
    found, origin = _base(recipe.bases[0], shop)
    for more in recipe.bases[1:]:
        found = replace(found, files=(*found.files, *(_projector(file, shop) for file in _base(more, shop)[0].files)))
    return found, origin


def adapters_of(recipe: Recipe, base: FetchedModel, info: ModelInfo | None, shop: Workshop) -> tuple[FetchedFile, ...]:
    """The files that `recipe`'s ADAPTERs name, each an adapter of a model like `base`. Raises `BadRequest`."""
    if recipe.adapters and base.format != "gguf":
        raise BadRequest(
            f"ADAPTER is applied to models in GGUF; this one is of the format '{base.format}'.",
            hint="Begin with the model as a GGUF, or let `-q` make one of it.",
            param="adapters",
        )
    return tuple(_adapter(reference, info, shop) for reference in recipe.adapters)


def _adapter(reference: str, base: ModelInfo | None, shop: Workshop) -> FetchedFile:
    path = _path(reference, shop)
    if path is not None and path.is_dir():
        raise BadRequest(
            f"ADAPTER '{reference[:100]}' is a folder: adapters are taken as GGUF.",
            hint="convert_lora_to_gguf.py of llama.cpp makes one of it.",
            param="adapters",
        )
    if path is None and not is_digest(reference.removeprefix("@").replace("sha256-", "sha256:")):
        raise BadRequest(f"ADAPTER '{reference[:100]}' is no path of a file.", param="adapters")
    (file, *_) = _base(reference, shop)[0].files
    seen = [info for backend in shop.backends.values() if (info := backend.inspect(file.path)) is not None]
    if seen:
        _check_adapter(reference, seen, base)
    return replace(file, role="adapter", name=Path(reference).name)


def _check_adapter(reference: str, seen: Sequence[ModelInfo], base: ModelInfo | None) -> None:
    """`seen`: what each backend that reads the file says of it; not all know adapters."""
    info = next((info for info in seen if info.is_adapter), None)
    if info is None:
        raise BadRequest(f"ADAPTER '{reference[:100]}' is a model, not an adapter.", param="adapters")
    if base is not None and info.architecture != base.architecture:
        raise BadRequest(
            f"ADAPTER '{reference[:100]}' is one for models of the family '{info.architecture}', and this is a "
            f"'{base.architecture}'.",
            param="adapters",
        )


def of_model(model: StoredModel) -> FetchedModel:
    """A model of the store with all that goes with it, what `aiadmin set` stored included. Pure."""
    files = (
        FetchedFile(path=Path(file.path), role=file.role, name=file.name, digest=file.digest, keep_in_place=True)
        for file in model.files
        if file.role != "template"  # it comes as text
    )
    return FetchedModel(
        files=tuple(files),
        format=model.format,
        template=model.template,
        system=model.system_message,
        messages=model.messages,
        license=model.license,
        parameters=model.parameters | model.own.parameters,
        about=model.about,
    )


def _base(reference: str, shop: Workshop) -> tuple[FetchedModel, str]:
    digest = reference.removeprefix("@").replace("sha256-", "sha256:")
    if is_digest(digest):
        return _uploaded({"model.gguf": digest}, shop), "upload"
    path = _path(reference, shop)
    if path is not None:
        return LocalSource().fetch(str(path), workdir=path, progress=shop.progress), f"file:{path}"
    model = _found(reference, shop.store)
    if model is None:
        model = pull(reference, store=shop.store, plugins=shop.plugins, progress=shop.progress, caller=shop.caller)
    return of_model(model), model.name


def _path(reference: str, shop: Workshop) -> Path | None:
    """The path that `reference` means; None for a name. Raises `NotAllowed` where paths are not for the caller."""
    looks = LocalSource().claims(reference) if shop.folder is None else _looks_like_path(reference)
    if shop.folder is None:
        if looks and _looks_like_path(reference):
            raise NotAllowed(
                f"FROM '{reference[:100]}' is a path on the server's machine, which is not read for clients.",
                hint="Send the file to /api/blobs/:digest and name it in 'files', or run `aiadmin create` there.",
                param="from",
            )
        return None
    inside = local_path(reference) if reference.startswith("~") else shop.folder / reference
    if looks or (_found(reference, shop.store) is None and inside.exists()):
        return inside
    return None


def _looks_like_path(reference: str) -> bool:
    return reference.startswith((".", "/", "~", "\\")) or reference.lower().endswith((".gguf", ".safetensors"))


def _found(reference: str, store: ModelStore) -> StoredModel | None:
    """The model of this name, or the one its alias leads to. Raises `InvalidName`."""
    aliases = Aliases(store.aliases_path)
    for _ in range(20):
        if (model := store.find(reference)) is not None:
            return model
        alias = aliases.get(reference)
        if alias is None:
            return None
        reference = alias.target
    return None


def _projector(file: FetchedFile, shop: Workshop) -> FetchedFile:
    for backend in shop.backends.values():
        info = backend.inspect(file.path)
        if info is not None and info.architecture == PROJECTOR:
            return replace(file, role="projector")
    raise BadRequest(
        f"'{file.path.name}' is a second model: besides the first FROM there may only be its projector.",
        hint="Make a model of each.",
        param="from",
    )


def _uploaded(files: Mapping[str, str], shop: Workshop) -> FetchedModel:
    found = tuple(_upload(name, digest, shop) for name, digest in files.items())
    is_folder = any(file.name.lower().endswith(".safetensors") for file in found)
    if not is_folder:
        first, *others = found
        return FetchedModel(files=(first, *(_projector(one, shop) for one in others)), format="gguf")
    weights = sorted((file for file in found if file.role == "model"), key=lambda file: file.name)
    return FetchedModel(files=(*weights, *(file for file in found if file.role != "model")), format="safetensors")


def _upload(name: str, digest: str, shop: Workshop) -> FetchedFile:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts or "\0" in name:
        raise BadRequest(f"'{name[:100]}' is no name of a file inside a model.", param="files")
    digest = digest.replace("sha256-", "sha256:", 1)
    if not is_digest(digest):
        raise BadRequest(f"'{digest[:100]}' is no digest: sha256: and 64 hexadecimal digits.", param="files")
    at = shop.store.blob(digest)
    if at is None:
        raise BlobNotFound(digest)
    return FetchedFile(path=at, role=_role(path.name), name=str(path), digest=digest)


def _role(name: str) -> FileRole:
    if TOKENIZER_FILES.fullmatch(name):
        return "tokenizer"
    return "config" if CONFIG_FILES.fullmatch(name) else "model"


class BlobNotFound(AiAdminError):
    """No file with this digest is here."""

    code, status = "blob_not_found", 404

    def __init__(self, digest: str) -> None:
        super().__init__(
            f'blob "{digest[:80]}" not found', hint="Send the file to /api/blobs/:digest first.", param="files"
        )
