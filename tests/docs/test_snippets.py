"""Every snippet of the README and the documentation runs as it stands, page by page, from top to bottom.

A page's shell, Python and JavaScript blocks share one folder, one state and one server. A comment above a block says
what is special about it: `<!-- snippet: background -->` runs beside the rest of the page, `<!-- snippet: file NAME -->`
is written to that file, `<!-- snippet: run by ... -->` says who else runs it. Other languages show output.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
RUNNABLE = {"bash", "python", "javascript"}
PORT = "localhost:11434"

pytestmark = [pytest.mark.real_model]


@dataclass(frozen=True)
class Snippet:
    language: str
    code: str
    line: int
    directive: str = ""


def snippets(page: Path) -> Iterator[Snippet]:
    directive = ""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "html_block":
            found = re.search(r"<!-- snippet: (.+?) -->", token.content)
            directive = found[1] if found else ""
        elif token.type == "fence":
            if token.info in RUNNABLE or directive:
                assert token.map
                yield Snippet(token.info, token.content, token.map[0] + 1, directive)
            directive = ""


def pages_with_snippets() -> list[Path]:
    built = ROOT / "docs" / "_build"
    return [page for page in PAGES if built not in page.parents and any(snippets(page))]


@pytest.mark.parametrize("page", pages_with_snippets(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_of_the_page_runs(page: Path, product: Any, node_modules: Path, tmp_path: Path) -> None:
    """The server a page starts listens on a port of its own, which stands in for 11434 in the page's text."""
    own = product.clone(tmp_path / "state")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "node_modules").symlink_to(node_modules, target_is_directory=True)
    port = _free_port()
    environment = own.env(AIADMIN_HOST=f"127.0.0.1:{port}", ROOT=str(ROOT))
    background: list[subprocess.Popen[bytes]] = []
    try:
        for snippet in snippets(page):
            if snippet.directive.startswith("run by"):
                continue
            code = snippet.code.replace(PORT, f"localhost:{port}")
            if snippet.directive.startswith("file "):
                path = folder / snippet.directive.removeprefix("file ")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
                continue
            command = _command(snippet.language, code, folder)
            if snippet.directive == "background":
                background.append(
                    subprocess.Popen(
                        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
                    )
                )
                _wait_for(f"http://127.0.0.1:{port}/health", background[-1])
                continue
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=150,
                check=False,
            )
            where = f"{page.relative_to(ROOT)}:{snippet.line}"
            assert done.returncode == 0, f"{where}\n{code}\n--- printed\n{done.stdout}\n{done.stderr}"
    finally:
        for process in reversed(background):
            os.killpg(process.pid, signal.SIGTERM)  # the shell and what it runs
            process.wait(20)


def _command(language: str, code: str, folder: Path) -> list[str]:
    if language == "bash":
        return ["bash", "-euo", "pipefail", "-c", code]
    script = folder / {"python": "snippet.py", "javascript": "snippet.mjs"}[language]
    script.write_text(code)
    return [sys.executable if language == "python" else "node", str(script)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended"
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing answers on {url}")
