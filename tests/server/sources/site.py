"""A web server on this machine that a test can tell how to behave."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Stopped(BaseException):
    """Whoever fetches is interrupted, as by Ctrl-C."""


def stop_at(n_bytes: int) -> Callable[[int], None]:
    """What is told how much has come, and raises `Stopped` once it is so much."""

    def told(n_come: int) -> None:
        if n_come >= n_bytes:
            raise Stopped

    return told


@dataclass
class Asked:
    method: str
    path: str
    query: str
    headers: dict[str, str]


@dataclass
class Page:
    """What is at a path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    url: str = ""
    pages: dict[str, Page | Callable[[Asked], Page]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ranges: bool = True
    cut_after: int | None = None
    """Bytes of a body after which the line breaks."""
    pause_s: float = 0.0
    """After each 64 KB."""

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def starts(self) -> list[int]:
        """Where the ranges that were asked for begin."""
        found = [re.match(r"bytes=(\d+)-", one.headers.get("range", "")) for one in self.asked]
        return [int(match[1]) for match in found if match]


@contextlib.contextmanager
def running_site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            """Quietly."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, parts.query, headers)
            site.asked.append(asked)
            found = site.pages.get(parts.path, Page(b"nothing here", 404))
            page = found(asked) if callable(found) else found
            body, status, more = page.body, page.status, dict(page.headers)
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
            same = headers.get("if-range") in (None, more.get("ETag"))
            if match and status == 200 and site.ranges and same:
                start, end = int(match[1]), min(int(match[2] or len(body)) + 1, len(body))
                more["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
                body, status = body[start:end], 206
            self.send_response(status)
            for name, value in (more | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.send(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def send(self, body: bytes) -> None:
            left = len(body) if site.cut_after is None else min(len(body), site.cut_after)
            for start in range(0, left, 65536):
                self.wfile.write(body[start : min(start + 65536, left)])
                time.sleep(site.pause_s)
            if left < len(body):
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that leave are what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
