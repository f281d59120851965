"""`aiadmin serve`: the HTTP server, until a signal ends it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from aiadmin_core.errors import BadRequest

from ..http.origins import is_loopback
from ..settings import Settings
from ._verb import verb

if TYPE_CHECKING:
    from aiadmin_core.plugins import Plugins

    from ..configuration import Configuration

LOG_LEVELS = ("debug", "info", "warning", "error")


def _take_no_model(arguments: list[str]) -> None:
    """Other programs' `serve` takes one."""
    if arguments:
        raise click.UsageError(
            f"`serve` takes no model: it serves all there are, and loads each when it is first asked for. "
            f"`aiadmin run {arguments[0]}` asks one."
        )


@verb
@click.option("--host", help="Address to listen on; 0.0.0.0 for all.  [default: 127.0.0.1, or AIADMIN_HOST's]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 11434, or AIADMIN_HOST's]")
@click.option("--models", type=click.Path(file_okay=False, path_type=Path), help="Folder of the model store.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="info says more.  [default: warning]")
@click.option("--child", is_flag=True, hidden=True, help="Announce the URL as JSON; end with standard input.")
def command(host: str | None, port: int | None, models: Path | None, log_level: str | None, child: bool) -> None:
    """Serve the models of this machine over HTTP.

    OpenAI clients use http://localhost:11434/v1 as their base URL, with any API key. Models are loaded when they are
    first asked for. Ctrl-C ends the server; twice, at once.
    """
    _take_no_model(click.get_current_context().args)
    from ..configuration import load_configuration
    from ._output import remark
    from ._own_server import announce_to_parent
    from ._plugins import installed_plugins
    from ._serving import serve

    configuration = load_configuration()
    plugins = installed_plugins()
    named = configuration.where("AIADMIN_HOST")
    settings = with_options(configuration.settings(), host=host, port=port, models=models, host_named_by=named)
    for note in () if child else configuration.notes:
        remark(note)
    if not host and inherits_openness(configuration, settings, guarded=is_guarded(plugins)):
        remark(
            f"{named} names {settings.host}, which would open this server to whoever reaches that address: it listens "
            "on 127.0.0.1 only. `--host` or AIADMIN_HOST opens it, or a plugin that asks who is calling."
        )
        settings = replace(settings, host="127.0.0.1")

    def ready(_: str, port: int) -> None:
        serving = replace(settings, port=port)
        if child:
            announce_to_parent(serving.url)
        else:
            _announce(serving, plugins)

    log_level = log_level or ("info" if settings.debug else "warning")
    serve(settings, plugins=plugins, log_level=log_level, on_ready=ready, child=child)


command.allow_extra_args = True  # for `_take_no_model`


def inherits_openness(configuration: "Configuration", settings: Settings, *, guarded: bool) -> bool:
    """Whether the server would be open to others only because another program's settings say so. Pure."""
    given = configuration.given.get("AIADMIN_HOST")
    return given is not None and given.is_inherited and not guarded and not is_loopback(settings.host)


def is_guarded(plugins: "Plugins") -> bool:
    """Whether a plugin asks who is calling."""
    return any("aiadmin_authenticate" in plugin.hooks for plugin in plugins.installed)


def with_options(
    settings: Settings,
    *,
    host: str | None,
    port: int | None,
    models: Path | None,
    host_named_by: str = "AIADMIN_HOST",
) -> Settings:
    """The settings with what was given on the command line in their place. Raises `BadRequest` for an address that
    only clients can use."""
    if not host and (settings.scheme != "http" or settings.base_path):
        lacks = "speaks no TLS" if settings.scheme != "http" else "serves at its root"
        raise BadRequest(
            f"{host_named_by} says {settings.url}, and the server itself {lacks}.",
            hint="Name the address to listen on, `--host 127.0.0.1 --port 11434`, and let a proxy do the rest.",
        )
    return replace(
        settings,
        scheme="http",
        base_path="",
        host=host or settings.host,
        port=settings.port if port is None else port,
        models=models.expanduser() if models else settings.models,
    )


def _announce(settings: Settings, plugins: "Plugins") -> None:
    """One line with the URL; what to type next where there is nothing to serve yet."""
    from ..routing.resolver import Resolver
    from ..store.aliases import Aliases
    from ..store.store import ModelStore
    from ._output import remark

    click.echo(f"AiAdmin is serving on {settings.url}/v1 (Ctrl-C ends it)")
    for plugin in plugins.broken:
        if plugin.error:  # what hooks did wrong is in the log
            remark(f"The plugin {plugin.name} is not in use: {plugin.error}")
    if not is_loopback(settings.host) and not is_guarded(plugins):
        remark("Everyone who reaches this machine can use it: no plugin asks who they are.")
    store = ModelStore(settings.models)
    offered = Resolver(store, Aliases(store.aliases_path), plugins, settings).offered()
    if not store.models() and not offered:
        remark("There are no models yet. In another terminal: aiadmin pull smollm2")
