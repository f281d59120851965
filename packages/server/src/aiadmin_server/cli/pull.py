"""`aiadmin pull`: fetch a model into the store. Needs no server."""

from pathlib import Path

import click

from ._verb import verb


@verb
@click.argument("reference")
@click.option("--as", "name", metavar="NAME", help="What to call the model here.")
@click.option("--replace", is_flag=True, help="Replace a model of this name that came from elsewhere.")
@click.option("--in-place", is_flag=True, help="Leave the file where it is; the model points to it.")
def command(reference: str, name: str | None, replace: bool, in_place: bool) -> None:
    """Fetch a model.

    REFERENCE is a name of the catalogue, the path of a file, or SCHEME:REST for a source that a plugin offers. A pull
    that was stopped goes on where it was.

    \b
    aiadmin pull smollm2
    aiadmin pull ./my-model.gguf --as my-model
    """
    from ..settings import load_settings
    from ..store.names import short_name
    from ._output import remark, size
    from ._pulling import fetch

    wanted = linked(reference) if in_place else reference
    model = fetch(wanted, load_settings(), name=name, replace=replace)
    remark(
        f'Pulled {model.name} ({size(model.size)}). Try it: aiadmin run {short_name(model.name)} "Say this is a test"'
    )


def linked(reference: str) -> str:
    """The reference that leaves a file where it is. Raises `click.UsageError` for what is no path."""
    path = reference.removeprefix("file:").removeprefix("link:")
    if not Path(path).expanduser().exists():
        raise click.UsageError(f"--in-place takes a file or folder of this machine; there is no '{path}'.")
    return f"link:{path}"
