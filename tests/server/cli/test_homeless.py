"""A user without a home folder, as containers and services have: whatever has its folder named works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

UNKNOWN_USER = """
import pwd, sys
def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = getpwuid
from aiadmin_server.cli import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows finds homes another way")
@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["list", "--json"], ["plugins"], ["alias"]])
def test_a_uid_without_home_and_passwd_entry_reads_a_store(tmp_path: Path, arguments: list[str]):
    kept = {key: value for key, value in os.environ.items() if key != "HOME" and not key.startswith("AIADMIN_")}
    environment = kept | {"AIADMIN_MODELS": str(tmp_path / "models")}
    command = [sys.executable, "-c", UNKNOWN_USER, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "bug" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1
