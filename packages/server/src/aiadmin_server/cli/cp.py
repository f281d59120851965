"""`aiadmin cp`: a second name for a model, at once; the files are shared."""

import click

from ._names import MODEL
from ._verb import verb


@verb
@click.argument("source", type=MODEL)
@click.argument("destination")
@click.option("--replace", is_flag=True, help="Also where DESTINATION is the last name of a model, or an alias.")
def command(source: str, destination: str, replace: bool) -> None:
    """Give a model another name.

    The copy shares the files and goes on to mean today's model when SOURCE is pulled anew; an alias
    (`aiadmin alias set`) follows it instead. A DESTINATION that is a name of another model is moved, if that model has
    a further name; nothing is lost without `--replace`.

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
        copied = store.copy(source, destination, replace=replace)
    remark(f"{copied.name} is now a name of {source}.")
