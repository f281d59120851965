"""Runs the server in the foreground of this command: signals, logging, ending with a parent. Used by `serve`."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

from aiadmin_core.errors import AiAdminError
from aiadmin_core.plugins import Plugins

from .. import app, logs
from ..runners.log import LOGS
from ..settings import Settings
from ._client import Listener, probe
from ._output import remark

PARENT_GRACE_S = 20.0
"""How long a server whose parent is gone may take to end."""


class Server(app.Server):
    """The first signal ends it when running requests are done, a second Ctrl-C at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Uvicorn would raise the signal again when it is done; here a signal is a request that was carried out."""
        if self.should_exit and sig == signal.SIGINT:
            os._exit(128 + sig)  # the runners see their connections close, and end
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, saying what is waited for."""
        if n_running := len(self.server_state.tasks):
            waited_for = "1 request is" if n_running == 1 else f"{n_running} requests are"
            remark(f"Ending when {waited_for} answered; Ctrl-C again ends at once.")
        await super().shutdown(sockets)


def serve(
    settings: Settings, *, plugins: Plugins, log_level: str, on_ready: Callable[[str, int], None], child: bool
) -> None:
    """Serve until a signal comes, or until standard input ends for a `child`. Raises `PortInUse`, `AiAdminError`."""
    level = logging.getLevelNamesMapping()[log_level.upper()]
    file = None if child else settings.state / LOGS / logs.SERVER_LOG
    logs.configure(level, settings.log_format, file)
    try:
        listening = app.bind(settings)
    except app.PortInUse:
        raise in_use(settings, probe(settings.url, settings.api_key)) from None
    with listening:
        server = Server(app.uvicorn_config(app.create_app(settings, plugins=plugins), settings), on_ready)
        if child:
            threading.Thread(target=_end_with_parent, args=[server], daemon=True).start()
        try:
            server.run(sockets=[listening])
        except SystemExit:  # uvicorn's way to say that the application's start failed
            raise AiAdminError("The server could not start.", hint="What it logged above says why.") from None


def in_use(settings: Settings, listener: Listener) -> app.PortInUse:
    """Who has the port, and what to do about it."""
    where = f"{settings.host}:{settings.port}"
    elsewhere = f"`aiadmin serve --port {settings.port + 1}` takes another port."
    if listener.kind == "aiadmin":
        return app.PortInUse(
            f"AiAdmin {listener.version} is already serving on {where}.",
            hint=f"Use it as it is: `aiadmin ps` shows what it has loaded. Or: {elsewhere}",
        )
    return app.PortInUse(f"Another program, not AiAdmin, is listening on {where}.", hint=elsewhere)


def _end_with_parent(server: Server) -> None:
    """Wait for the end of standard input, which the parent holds open for as long as it lives."""
    while os.read(sys.stdin.fileno(), 4096):  # not `sys.stdin`: its lock, held here, would abort the interpreter's end
        pass
    server.should_exit = True
    threading.Event().wait(PARENT_GRACE_S)
    remark("The server did not end with the program that started it; ending it now.")
    os._exit(1)
