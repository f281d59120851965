"""`aiadmin cp`: a second name for a model, at once; the files are shared."""

import click

from ._verb import verb


@verb
@click.argument("source")
@click.argument("destination")
def command(source: str, destination: str) -> None:
    """Give a model another name.

    The copy shares the files and goes on to mean today's model when SOURCE is pulled anew; an alias
    (`aiadmin alias set`) follows it instead. A model that has the name DESTINATION is replaced.

    \b
    aiadmin cp smollm2 gpt-3.5-turbo
    """
    from ..settings import load_settings
    from ..store.store import ModelStore
    from ._output import remark
    from ._resolving import files_needed

    settings = load_settings()
    store = ModelStore(settings.models)
    with files_needed(source, store, settings, new_name=destination):
        copied = store.copy(source, destination)
    remark(f"{copied.name} is now a name of {source}.")
