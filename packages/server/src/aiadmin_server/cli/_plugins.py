"""The plugins of this command, loaded at most once, and only by verbs that need them."""

from functools import cache

from aiadmin_core.plugins import Plugins


@cache
def installed_plugins() -> Plugins:
    """The server's own and the installed ones."""
    from ..plugins import load_server_plugins

    return load_server_plugins()
