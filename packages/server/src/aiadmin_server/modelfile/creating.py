"""From a recipe to a model in the store. Blocking; used by `aiadmin create` and `/api/create`.

Weights that are here already are shared, not copied. What has to be made (another format, smaller weights) is made in a
folder of the name's own, and becomes a model in one step: a create that is killed leaves nothing that is seen, and the
next one of that name begins anew.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from aiadmin_core.backend import Backend, Converts, Quantizes
from aiadmin_core.errors import BadRequest, ModelExists, UnsupportedParameter
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_core.specs.model import ModelFile, ModelSpec
from aiadmin_core.text.template import read_template

from ..sources.inspecting import inspect
from ..store.adding import text_layers
from ..store.aliases import Aliases
from ..store.disk import disk_errors, need_room
from ..store.layout import laid_out
from ..store.manifest import digest_of
from ..store.names import parse_name
from ..store.store import StoredModel
from ..store.tree import MAX_TEXT_BYTES
from .bases import Workshop, adapters_of, base_of
from .recipe import Recipe


def create(name: str, recipe: Recipe, shop: Workshop, *, replace_others: bool = True) -> StoredModel:
    """Make the model `name`. Without `replace_others`, a model of that name that was not made here only gives way
    where its weights have another name or are those of the new one.

    Raises `InvalidName`, `BadRequest`, `ModelNotFound`, `ModelExists`, `PullFailed`, `NotAllowed`, `StoreError`.
    """
    wanted = parse_name(name)
    check(recipe)
    key = f"create:{wanted.display.lower()}"

    def waiting() -> None:
        shop.progress(Progress(status="waiting for another create of the same model"))

    with shop.store.pull_lock(key, waiting=waiting):
        workdir = shop.store.workdir(key)
        shutil.rmtree(workdir, ignore_errors=True)
        try:
            return _create(name, recipe, shop, workdir, replace_others=replace_others)
        finally:
            shutil.rmtree(workdir, ignore_errors=True)


def check(recipe: Recipe) -> None:
    """Whether a model can be made of it, as far as it says by itself. Raises `BadRequest`."""
    if recipe.template:
        try:
            read_template(recipe.template)
        except BadRequest as error:
            raise BadRequest(f"TEMPLATE: {error.message}", hint=error.hint, param="template") from None


def _create(name: str, recipe: Recipe, shop: Workshop, workdir: Path, *, replace_others: bool) -> StoredModel:
    say = shop.progress
    with disk_errors("making a model", workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        say(Progress(status="reading model metadata"))
        base, origin = base_of(recipe, shop)
        made = _made(base, recipe, shop, workdir)
        info = inspect(in_folder(made, workdir / "seen"), shop.backends)
        adapters = adapters_of(recipe, made, info, shop)
        made = replace(made, files=(*made.files, *adapters))
        fetched = _with(recipe, replace(made, origin=f"create:{origin}"))
        _check_texts(fetched)
        if not replace_others:
            _refuse_losing(name, fetched, shop)
        for file in fetched.files:
            if file.digest:
                say(Progress(status=f"using existing layer {file.digest}"))
        for data in text_layers(fetched).values():
            say(Progress(status=f"creating new layer {digest_of(data)}"))
        model = shop.store.add(name, fetched, replace=True, progress=say, info=info)
    say(Progress(status="success"))
    return model


def _with(recipe: Recipe, base: FetchedModel) -> FetchedModel:
    """`base` with what the recipe says. Pure."""
    licenses = [text for text in recipe.licenses if text not in (base.license or "")]
    return replace(
        base,
        template=base.template if recipe.template is None else recipe.template or None,
        system=base.system if recipe.system is None else recipe.system or None,
        messages=base.messages if recipe.messages is None else recipe.messages,
        license="\n".join([*([base.license] if base.license else []), *licenses]) or None,
        parameters=dict(base.parameters) | dict(recipe.parameters),
        about=dict(base.about) | dict(recipe.about),
    )


def _made(base: FetchedModel, recipe: Recipe, shop: Workshop, workdir: Path) -> FetchedModel:
    """`base` in the format and with the weights that are wanted."""
    if base.format == "safetensors" and (recipe.quantize or not _served(base, shop.backends)):
        base = _converted(base, shop, workdir)
    if recipe.quantize:
        base = _quantized(base, recipe.quantize, shop, workdir)
    return base


def _served(model: FetchedModel, backends: Mapping[str, Backend]) -> bool:
    """Whether an installed backend opens it as it is."""
    files = tuple(ModelFile(role=one.role, path=str(one.path), name=one.name or one.path.name) for one in model.files)
    spec = ModelSpec(name="", digest="", format=model.format, files=files)
    return any(backend.suitability(spec) is not None for backend in backends.values())


def _converted(base: FetchedModel, shop: Workshop, workdir: Path) -> FetchedModel:
    name, backend = _able(shop.backends, Converts, "quantize", f"turns a folder of {base.format} into another format")
    folder = in_folder(base, workdir / "folder")
    made = workdir / "converted.gguf"
    need_room(workdir, sum(one.path.stat().st_size for one in base.files))
    shop.progress(Progress(status=f"converting model for {name}"))
    backend.convert(folder.files[0].path.parent, made, _reporter(shop, "converting model"))
    return replace(base, files=(FetchedFile(path=made, role="model", name="model.gguf"),), format="gguf")


def _quantized(base: FetchedModel, kind: str, shop: Workshop, workdir: Path) -> FetchedModel:
    if base.format != "gguf":
        raise BadRequest(f"A model of the format '{base.format}' cannot be quantized.", param="quantize")
    _, backend = _able(shop.backends, Quantizes, "quantize", "makes weights smaller")
    source = next(file for file in base.files if file.role == "model")
    made = workdir / f"{kind.lower()}.gguf"
    need_room(workdir, source.path.stat().st_size // 2)
    backend.quantize(source.path, made, kind, _reporter(shop, f"quantizing model to {kind.upper()}"))
    others = [file for file in base.files if file is not source]
    return replace(base, files=(FetchedFile(path=made, role="model", name="model.gguf"), *others))


def _able(backends: Mapping[str, Backend], able: type[Any], param: str, what: str) -> tuple[str, Any]:
    for name, backend in backends.items():
        if isinstance(backend, able):
            return name, backend
    raise UnsupportedParameter(
        param,
        why=f"no installed backend {what}.",
        hint="Install one that does: `pip install aiadmin-backend-llamacpp`.",
    )


def _reporter(shop: Workshop, status: str) -> Any:
    def report(completed: int, total: int) -> None:
        shop.progress(Progress(status=status, completed=completed, total=total))

    return report


def in_folder(model: FetchedModel, folder: Path) -> FetchedModel:
    """`model` with its files under their own names in one folder, where they are blobs."""
    if model.format != "safetensors" or not any(
        file.path.name != Path(file.name or file.path).name for file in model.files
    ):
        return model
    paths = laid_out(((file.name or file.path.name, file.path) for file in model.files), folder)
    linked = [replace(file, path=path) for file, path in zip(model.files, paths, strict=True)]
    return replace(model, files=tuple(linked))


def _check_texts(model: FetchedModel) -> None:
    """Raise `BadRequest` for a text that would not be read again."""
    for kind, data in text_layers(model).items():
        if len(data) > MAX_TEXT_BYTES:
            name = kind.rpartition(".")[2]
            raise BadRequest(
                f"The model's {name} has {len(data):,} bytes; at most {MAX_TEXT_BYTES:,} are kept.",
                hint="Shorten it.",
                param=name,
            )


def _refuse_losing(name: str, fetched: FetchedModel, shop: Workshop) -> None:
    """Raise `ModelExists` where an alias would lose its name, another program its model, or a model that was not made
    here its only name."""
    there = shop.store.find(name)
    alias = None if there else Aliases(shop.store.aliases_path).get(name)
    if alias is not None:
        raise ModelExists(
            f"'{name}' is an alias of '{alias.target}', which a model of this name would hide.",
            hint="Choose another name, or replace it with `--replace`.",
        )
    if there is None or there.origin.startswith("create:"):
        return
    if not there.origin:
        raise ModelExists(
            f"'{there.name}' was put there by another program.",
            hint="Choose another name, or replace it with `--replace`.",
        )
    weights = {file.digest for file in there.files if file.role == "model"}
    kept = {file.digest for file in fetched.files}
    kept |= {file.digest for model in shop.store.models() if model.name != there.name for file in model.files}
    if not weights <= kept:
        raise ModelExists(
            f"'{there.name}' is the only name of another model, from {there.origin or 'another program'}.",
            hint=f"Choose another name, give that one a second (`aiadmin cp {there.name} OTHER`), or replace it with "
            "`--replace`.",
        )
