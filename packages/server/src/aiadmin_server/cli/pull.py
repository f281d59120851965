"""`aiadmin pull`: fetch a model into the store. Needs no server."""

from pathlib import Path

import click

from ._verb import verb


@verb
@click.argument("reference")
@click.option("--as", "name", metavar="NAME", help="What to call the model here.")
@click.option("--replace", is_flag=True, help="Replace a model of this name that came from elsewhere.")
@click.option("--in-place", is_flag=True, help="Leave the file where it is; the model points to it.")
@click.option("--insecure", is_flag=True, help="Take what comes over plain http.")
@click.option("--digest", metavar="sha256:HEX", default="", help="What the model file must be.")
def command(reference: str, name: str | None, replace: bool, in_place: bool, insecure: bool, digest: str) -> None:
    """Fetch a model.

    REFERENCE is a name of the catalogue or of a registry, a repository of a hub, a web address, the path of a file, or
    SCHEME:REST for another source. A pull that was stopped goes on where it was.

    \b
    aiadmin pull smollm2
    aiadmin pull localhost:5000/team/my-model:v2
    aiadmin pull ./my-model.gguf --as my-model
    """
    from ..settings import load_settings
    from ..store.manifest import is_digest
    from ..store.names import short_name
    from ._output import remark, size
    from ._pulling import fetch, memory_of

    wanted = linked(reference) if in_place else reference
    if digest and not is_digest(digest.lower()):
        raise click.UsageError("--digest is written sha256: and 64 hexadecimal digits.")
    settings = load_settings()
    model = fetch(wanted, settings, name=name, replace=replace, insecure=insecure, expected_digest=digest.lower())
    if memory := memory_of(model.name, settings):
        remark(f"In memory it takes {memory}.")
    remark(
        f'Pulled {model.name} ({size(model.size)}). Try it: aiadmin run {short_name(model.name)} "Say this is a test"'
    )


def linked(reference: str) -> str:
    """The reference that leaves a file where it is. Raises `click.UsageError` for what is no path."""
    path = reference.removeprefix("file:").removeprefix("link:")
    if not Path(path).expanduser().exists():
        raise click.UsageError(f"--in-place takes a file or folder of this machine; there is no '{path}'.")
    return f"link:{path}"
