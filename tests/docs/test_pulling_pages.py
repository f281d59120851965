"""The commands of the pages about registries and web addresses, which need a server of each kind."""

import functools
import importlib.util
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
REGISTRY = Path(__file__).parents[1] / "server" / "sources" / "registry" / "running.py"
MINE = "run by tests/docs/test_pulling_pages.py"


def blocks(page: str) -> list[str]:
    """Its shell blocks that are run here."""
    found, mine = [], False
    for token in MarkdownIt().parse((PAGES / page).read_text()):
        if token.type == "html_block":
            mine = MINE in token.content
        elif token.type == "fence":
            found += [token.content] if mine else []
            mine = False
    return found


def run(block: str, own: Any) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, env=own.env(), capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.mark.real_model
def test_the_page_about_registries(product: Any, tmp_path: Path):
    spec = importlib.util.spec_from_file_location("running_registry", REGISTRY)
    assert spec
    assert spec.loader
    running = sys.modules["running_registry"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(running)
    (block,) = blocks("pull-from-a-registry.md")
    with running.running_registry(tmp_path) as host:
        run(block.replace("localhost:5000", host), product.clone(tmp_path / "state"))


def test_the_page_about_web_addresses(product: Any, tiny_gguf: Path, tmp_path: Path):
    (tmp_path / "tiny.gguf").symlink_to(tiny_gguf)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    (block,) = blocks("pull-from-a-url.md")
    try:
        run(block.replace("8765", str(server.server_address[1])), product.clone(tmp_path / "state"))
    finally:
        server.shutdown()
        server.server_close()
