"""`aiadmin rm`: remove names, and the files no other name needs."""

import contextlib

import click

from aiadmin_core.errors import AiAdminError

from ._names import MODEL
from ._verb import verb


@verb
@click.argument("names", type=MODEL, nargs=-1, required=True, metavar="NAME...")
def command(names: tuple[str, ...]) -> None:
    """Remove models.

    Files that another name needs stay. A running server that has one of them loaded lets it go.
    """
    from ..removing import remove_model
    from ..settings import load_settings
    from ..store.store import ModelStore
    from ._output import remark
    from ._resolving import files_needed

    settings = load_settings()
    store = ModelStore(settings.models)
    for name in names:
        with files_needed(name, store, settings):
            remove_model(name, store, settings)
        remark(f"Removed {name}.")
    from ._client import connect  # httpx: only where something was removed

    with contextlib.suppress(AiAdminError), connect(settings.url, settings.api_key) as server:
        server.get("/api/ps")  # where it looks again at what its models are called, and unloads what is gone
