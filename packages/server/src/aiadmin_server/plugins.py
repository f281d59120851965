"""The plugins of a server or command: our own built-in ones, then those that are installed.

Used by `app` and the command line. Nothing here imports a web framework or a native library: `aiadmin list` must stay
quick.
"""

from importlib import import_module

from aiadmin_core.plugins import Plugins, load_plugins

from .configuration import load_configuration

BUILTIN: tuple[tuple[str, str], ...] = (
    ("apis", "aiadmin_server.apis.builtin"),
    ("doctor", "aiadmin_server.doctor"),
    ("catalogue", "aiadmin_server.catalogue"),
    ("sources", "aiadmin_server.sources.installed"),
)
"""Name and module of the plugins that come with the server."""


def load_server_plugins() -> Plugins:
    """Load them all; never raises for a plugin's sake, but `BadRequest` for settings that cannot be read."""
    builtin = [(name, import_module(module)) for name, module in BUILTIN]
    return load_plugins(builtin=builtin, chosen=load_configuration().text("AIADMIN_PLUGINS"))
