"""Debian's registry on this machine, and a proxy before it that can be told to misbehave."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import Caller, Progress
from aiadmin_server.pull import pull
from aiadmin_server.push import push
from aiadmin_server.sources import installed
from aiadmin_server.sources.registry.source import RegistryAccess
from aiadmin_server.store.store import ModelStore, StoredModel

from .running import running_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@dataclass
class Proxy:
    """Passes bytes on between a client and a server, and can cut the line after some of the server's."""

    upstream: tuple[str, int]
    host: str = ""
    cut_after: int | None = None
    """Bytes from the server until every connection breaks; None: never."""
    requests: list[bytes] = field(default_factory=list)
    """What was asked, first line and headers, where it came in one piece."""
    bytes_sent: int = 0
    delay_s: float = 0.0
    """Before each piece from the server."""


@contextlib.contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    name, _, port = upstream.partition(":")
    proxy = Proxy((name, int(port)))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(proxy.upstream) as server:
                up = threading.Thread(target=self.up, args=(server,), daemon=True)
                up.start()
                with contextlib.suppress(OSError):
                    while data := server.recv(65536):
                        time.sleep(proxy.delay_s)
                        if proxy.cut_after is not None:
                            data = data[: max(0, proxy.cut_after - proxy.bytes_sent)]
                            if not data:
                                return
                        self.request.sendall(data)
                        proxy.bytes_sent += len(data)

        def up(self, server: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := self.request.recv(65536):
                    proxy.requests.append(data.partition(b"\r\n\r\n")[0])
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that leave are what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    proxy.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(registry: str) -> Iterator[Proxy]:
    with running_proxy(registry) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


Pull = Callable[..., StoredModel]
Push = Callable[..., list[Progress]]


@pytest.fixture
def pull_here(store: ModelStore) -> Pull:
    """Pull into `store`, with no other plugins than our sources."""
    plugins = load_plugins(builtin=[("sources", installed)], only=[])

    def run(
        reference: str, into: ModelStore = store, steps: list[Progress] | None = None, **how: object
    ) -> StoredModel:
        seen: list[Progress] = [] if steps is None else steps
        how.setdefault("progress", seen.append)
        return pull(reference, store=into, plugins=plugins, **how)

    return run


@pytest.fixture
def push_from(store: ModelStore) -> Push:
    def run(
        name: str, destination: str = "", access: RegistryAccess = RegistryAccess(""), **how: object
    ) -> list[Progress]:
        steps: list[Progress] = []
        how.setdefault("progress", steps.append)
        push(name, destination=destination, store=store, access=access, caller=Caller(), **how)
        return steps

    return run
