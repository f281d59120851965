"""`aiadmin create`: a model made of another one. Needs no server."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._verb import verb

if TYPE_CHECKING:
    from ..modelfile.recipe import Recipe


@verb
@click.argument("name")
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), help="The Modelfile; `-` reads it from stdin.")
@click.option("-q", "--quantize", metavar="KIND", default="", help="Make the weights smaller: Q4_K_M, Q8_0, ...")
@click.option(
    "--replace", is_flag=True, help="Replace a model of this name, also where it is the only one of its kind."
)
def command(name: str, path: Path | None, quantize: str, replace: bool) -> None:
    """Make a model of another one, as a Modelfile says.

    Without -f, the file `Modelfile` of this folder is read. FROM names a model, a GGUF file or a folder of safetensors.

    \b
    aiadmin create assistant -f Modelfile
    aiadmin create small -q Q4_K_M
    """
    from msgspec.structs import replace as with_fields

    from ..modelfile.bases import Workshop
    from ..modelfile.creating import create
    from ..settings import load_settings
    from ..store.names import short_name
    from ..store.store import ModelStore
    from ._output import remark, size
    from ._plugins import installed_plugins
    from ._progress import shown_progress

    recipe, folder = read(path)
    recipe = with_fields(recipe, quantize=quantize) if quantize else recipe
    store = ModelStore(load_settings().models)
    with shown_progress() as report:
        shop = Workshop(store=store, plugins=installed_plugins(), progress=report, folder=folder)
        model = create(name, recipe, shop, replace_others=replace)
    remark(f"Made {model.name} ({size(model.size)}). Try it: aiadmin run {short_name(model.name)}")


def read(path: Path | None) -> "tuple[Recipe, Path]":
    """The recipe in a Modelfile, and the folder that its paths begin at. Raises `BadRequest`, `click.UsageError`."""
    from ..modelfile.parsing import decoded, parse

    if path is not None and str(path) == "-":
        return parse(decoded(sys.stdin.buffer.read())), Path.cwd()
    path = path or Path("Modelfile")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"The Modelfile '{path}' cannot be read ({error.strerror}): name it with -f.") from None
    return parse(decoded(data)), path.absolute().parent
