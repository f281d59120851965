"""The plugins of this command, loaded at most once, and only by verbs that need them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from aiadmin_core.plugins import Plugins


@cache
def installed_plugins() -> Plugins:
    """The server's own and the installed ones."""
    from ..plugins import load_server_plugins

    return load_server_plugins()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what is wrong with plugins out of the log, for verbs that print it."""
    log = logging.getLogger("aiadmin.plugins")
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False
