"""Debian's registry, started for a test."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

REGISTRY = shutil.which("docker-registry") or "/usr/bin/docker-registry"
CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}, secret: a-test-s}}
{auth}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_registry(folder: Path, auth: str = "") -> Iterator[str]:
    """Debian's `docker-registry`: its host and port."""
    if not Path(REGISTRY).exists():
        pytest.skip("needs a registry: apt-get install docker-registry")
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(root=folder / "registry", port=port, auth=auth))
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([REGISTRY, "serve", str(config)], stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"http://127.0.0.1:{port}/v2/")
                    break
                assert process.poll() is None, (folder / "registry.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)
