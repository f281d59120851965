"""A server on this machine that speaks the hub's protocol, as far as its library asks: listings, `resolve` with the
headers that say what a file is, and large files elsewhere."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import Progress
from aiadmin_server.pull import pull
from aiadmin_server.sources.huggingface.source import HuggingFaceSource
from aiadmin_server.store.store import ModelStore, StoredModel

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_a_token_of_tests"
LARGE = 1000
"""Files from this size on are not in git."""


@dataclass
class FakeHub:
    """Repositories by name, files by path."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    with_xet: bool = False
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, range."""
    authorizations: set[str] = field(default_factory=set)
    cut_after: int | None = None
    """Bytes of a large file after which the line breaks."""
    down: bool = False

    def blob(self, digest: str) -> bytes:
        return next(data for files in self.repos.values() for data in files.values() if sha256(data) == digest)

    def n_sent(self, name: str) -> int:
        return sum(method == "GET" and path.endswith(name) for method, path, _ in self.requests)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            """Quietly."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range", "")))
            hub.authorizations.add(self.headers.get("Authorization", ""))
            if hub.down:
                self.answer(503, {})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                self.listing(match[1], match[2])
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.resolve(match[1], match[3])
            elif path.startswith("/cdn/"):
                self.send_file(hub.blob(path.removeprefix("/cdn/")), {})
            else:
                self.answer(404, {"X-Error-Code": "EntryNotFound"})

        def listing(self, repo: str, revision: str | None) -> None:
            if repo not in hub.repos:
                self.answer(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            elif revision not in (None, "main", "v2", COMMIT):
                self.answer(404, {"X-Error-Code": "RevisionNotFound"})
            else:
                siblings = [described(name, data) for name, data in hub.repos[repo].items()]
                whole = {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(whole).encode())

        def resolve(self, repo: str, name: str) -> None:
            if repo in hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
                return
            data = hub.repos[repo].get(name)
            if data is None:
                self.answer(404, {"X-Error-Code": "EntryNotFound"})
                return
            headers = {"X-Repo-Commit": COMMIT}
            if len(data) < LARGE:
                self.send_file(data, headers | {"ETag": f'"{git_id(data)}"'})
                return
            headers |= {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
            if hub.with_xet:
                headers |= {"X-Xet-Hash": sha256(data), "X-Xet-Refresh-Route": f"{hub.url}/api/xet-token"}
            self.answer(302, headers | {"Location": f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/{sha256(data)}"})

        def send_file(self, data: bytes, headers: dict[str, str]) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(match[1]) if match else 0
            end = int(match[2]) + 1 if match and match[2] else len(data)
            more = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"} if match else {}
            body = data[start:end]
            cut = hub.cut_after if hub.cut_after is not None and len(data) >= LARGE else None
            self.send_response(206 if match else 200)
            for key, value in (headers | more | {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:cut])
                if cut is not None:
                    self.close_connection = True

        def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


def described(name: str, data: bytes) -> dict[str, Any]:
    known: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_id(data)}
    if len(data) >= LARGE:
        known["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 130}
    return known


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub-cache"


Pull = Callable[..., StoredModel]


@pytest.fixture
def pull_here(hub: FakeHub, store: ModelStore, cache: Path) -> Pull:
    class Plugin:
        @hookimpl
        def aiadmin_sources(self) -> Any:
            return [HuggingFaceSource(hub.url, cache)]

    plugins = load_plugins(builtin=[("hub", Plugin())], only=[])

    def run(reference: str, steps: list[Progress] | None = None, **how: Any) -> StoredModel:
        seen: list[Progress] = [] if steps is None else steps
        how.setdefault("progress", seen.append)
        return pull(reference, store=store, plugins=plugins, **how)

    return run
