"""A server to ask, and the model there: the running one, or one of the command's own. Used by `run` and `bench`."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..settings import Settings
from ._hosts import is_this_machine

if TYPE_CHECKING:
    from ._client import Client


def reach_server(settings: Settings, stack: ExitStack) -> "Client":
    """A `Client` of the running server, or of one that lives until `stack` is closed."""
    from ._client import Client, not_running, probe
    from ._own_server import OwnServer

    listener = probe(settings.url, settings.api_key)
    if listener.kind == "aiadmin":
        return stack.enter_context(Client(settings.url, settings.api_key))
    if not is_this_machine(settings.host):
        raise not_running(settings.url, stranger=listener.kind == "stranger")
    return stack.enter_context(Client(stack.enter_context(OwnServer()).url, settings.api_key))


def make_available(client: "Client", model: str, settings: Settings, *, chatting: bool) -> None:
    """Pull a model that this machine's server does not have, where its name says from where: one of the catalogue, or
    one with a host in front. A large one is asked about first, at a terminal.

    Any other name is the server's to judge when it is asked; a chat does not begin with one that cannot be right.
    """
    from urllib.parse import quote

    from ._client import ServerRefused
    from ._output import remark
    from ._pulling import fetch, in_catalogue

    if not is_this_machine(settings.host):
        return
    try:
        client.get(f"/v1/models/{quote(model, safe='/:')}")
    except ServerRefused as refused:
        if refused.status == 404 and (names_a_host(model) or in_catalogue(model) is not None):
            remark(f"{model} is not here yet: pulling it.")
            fetch(model, settings, ask=sys.stdin.isatty())
        elif chatting:
            raise


def names_a_host(model: str) -> bool:
    """Whether a name begins with the host of a registry or a hub, as in `localhost:5000/team/model`: no part of other
    names has a dot or a port there."""
    host, slash, _ = model.partition("/")
    return bool(slash) and host not in ("", ".", "..", "~") and (":" in host or "." in host)
