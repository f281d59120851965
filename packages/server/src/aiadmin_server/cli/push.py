"""`aiadmin push`: send a model to a registry. Needs no server."""

import click

from ._verb import verb


@verb
@click.argument("name")
@click.argument("destination", default="")
@click.option("--insecure", is_flag=True, help="Speak plain http to a registry that is not on this machine.")
def command(name: str, destination: str, insecure: bool) -> None:
    """Send a model to a registry.

    It goes to the registry in NAME ([host[:port]/][namespace/]model[:tag]; without a host, to AIADMIN_REGISTRY), or to
    DESTINATION, a name too. A push that was stopped goes on where it was.

    \b
    aiadmin push registry.example.org/team/my-model
    aiadmin push smollm2 localhost:5000/team/smollm2
    """
    from aiadmin_core.sources import Caller

    from ..push import push
    from ..settings import load_settings
    from ..sources.installed import registry_access
    from ..store.store import ModelStore
    from ._output import remark
    from ._progress import shown_progress

    store = ModelStore(load_settings().models)
    try:
        with shown_progress() as report:
            push(
                name,
                destination=destination,
                store=store,
                access=registry_access(),
                progress=report,
                caller=Caller(insecure=insecure),
            )
    except KeyboardInterrupt:
        remark("Stopped. The same command goes on from here; what the registry has is kept.")
        raise
    remark(f"Pushed {destination or name}.")
