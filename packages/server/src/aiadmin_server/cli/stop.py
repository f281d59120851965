"""`aiadmin stop`: unload a model now."""

import click

from ._verb import verb


@verb
@click.argument("name")
def command(name: str) -> None:
    """Unload a model.

    Requests it is working on are finished first; the next one loads it again.
    """
    from ..settings import load_settings
    from ._client import connect
    from ._output import remark

    settings = load_settings()
    with connect(settings.url, settings.api_key) as server:
        stopped = server.post("/api/stop", {"model": name})["stopped"]
    remark(f"Stopped {name}." if stopped else f"{name} is not loaded.")
