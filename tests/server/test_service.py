"""The files of the system's service managers."""

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aiadmin_server.service import carried, launchd_plist, systemd_unit

COMMAND = [sys.executable, "-m", "aiadmin_server", "serve"]


def verified(unit: str, tmp_path: Path) -> str:
    """What systemd says of a unit."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here to read the unit")
    path = tmp_path / "aiadmin.service"
    path.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert "Failed to initialize" not in done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if "aiadmin.service" in line)


def test_systemd_takes_the_unit(tmp_path):
    unit = systemd_unit(COMMAND, {"AIADMIN_MODELS": "/a b/%h", "AIADMIN_ORIGINS": 'https://x.example,"$HOME\\'})
    assert verified(unit, tmp_path) == ""
    assert "WantedBy=default.target" in unit
    assert "Restart=on-failure" in unit


def test_words_mean_themselves_to_systemd():
    unit = systemd_unit(["/a b/python", "100%", "$HOME", 'say "x"', "back\\slash"], {})
    assert 'ExecStart="/a b/python" "100%%" "$$HOME" "say \\"x\\"" "back\\\\slash"' in unit


def test_a_mistake_would_be_seen(tmp_path):
    assert "Unknown key" in verified(systemd_unit(COMMAND, {}).replace("RestartSec", "RestartSecs"), tmp_path)


def test_launchd_is_given_the_same():
    plist = plistlib.loads(launchd_plist(COMMAND, {"AIADMIN_MODELS": "/a b"}, log=Path("/log")))
    assert plist["ProgramArguments"] == COMMAND
    assert plist["EnvironmentVariables"] == {"AIADMIN_MODELS": "/a b"}
    assert plist["RunAtLoad"] is True
    assert plist["KeepAlive"] == {"SuccessfulExit": False}


def test_the_shells_settings_go_along_and_no_key():
    secrets = {"AIADMIN_API_KEY": "sk-1", "AIADMIN_REGISTRY_CREDENTIALS": "h=a:b"}
    environ = secrets | {"AIADMIN_HOST": "x", "AiAdmin_MODELS": "/m", "AIADMIN_EXACT": "", "PATH": "/"}
    assert carried(environ) == {"AIADMIN_HOST": "x", "AIADMIN_MODELS": "/m"}
