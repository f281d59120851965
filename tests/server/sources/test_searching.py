"""Looking for models elsewhere, against servers on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from aiadmin_core.errors import PullFailed
from aiadmin_server.sources.registry.source import RegistryAccess
from aiadmin_server.sources.searching import Hit, search_hub, search_registry

REPOSITORIES = ["library/llama", "team/llama-mine", "team/other"]


@pytest.fixture
def site():
    """A hub and a registry at once; its address, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            """Quietly."""

        def do_GET(self):
            parts = urlsplit(self.path)
            asked.append((parts.path, parse_qs(parts.query), self.headers.get("Authorization")))
            answers = {
                "/api/models": [{"id": "org/llama-GGUF", "downloads": 1234567, "likes": 3}],
                "/v2/_catalog": {"repositories": REPOSITORIES},
            }
            body = json.dumps(answers.get(parts.path, "?")).encode()
            self.send_response(200 if parts.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_for_gguf_repositories(site):
    url, asked = site
    assert search_hub(["llama", "3"], endpoint=url) == [
        Hit(name="hf.co/org/llama-GGUF", summary="1,234,567 downloads last month")
    ]
    path, query, _ = asked[0]
    assert (path, query["search"], query["filter"]) == ("/api/models", ["llama 3"], ["gguf"])


def test_a_registry_of_ones_own_is_looked_through(site):
    url, asked = site
    host = url.partition("://")[2]
    found = search_registry(["LLAMA"], RegistryAccess(url, {host: ("me", "secret")}))
    assert [hit.name for hit in found] == ["llama", "team/llama-mine"]
    assert asked[0][2].startswith("Basic ")
    assert search_registry(["x"], RegistryAccess("https://registry.ollama.ai")) == [], (
        "it lists nothing, and is not asked"
    )


def test_who_cannot_be_asked_is_named(site):
    url, _ = site
    with pytest.raises(PullFailed, match="status 404"):
        search_registry(["x"], RegistryAccess(f"{url}/nothing"))
    with pytest.raises(PullFailed, match=r"127\.0\.0\.1:1 cannot be reached"):
        search_hub(["x"], endpoint="http://127.0.0.1:1")


def test_the_command_finds_what_the_catalogue_has_and_says_who_did_not_answer(product):
    found = product.run("search", "embeddings", HF_ENDPOINT="http://127.0.0.1:1")
    assert "minilm" in found.stdout
    assert "Not everything was searched: 127.0.0.1:1 cannot be reached" in found.stderr
    records = json.loads(product.run("search", "smollm2", "--catalogue", "--json").stdout)
    assert {record["name"] for record in records} >= {"smollm2", "smollm2:360m"}
    assert all(record["license"] for record in records)
