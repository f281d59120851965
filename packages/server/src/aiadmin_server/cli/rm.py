"""`aiadmin rm`: remove names, and the files no other name needs."""

import click

from ._verb import verb


@verb
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def command(names: tuple[str, ...]) -> None:
    """Remove models.

    Files that another name needs stay.
    """
    from ..settings import load_settings
    from ..store.store import ModelStore
    from ._output import remark
    from ._resolving import files_needed

    settings = load_settings()
    store = ModelStore(settings.models)
    for name in names:
        with files_needed(name, store, settings):
            store.remove(name)
        remark(f"Removed {name}.")
