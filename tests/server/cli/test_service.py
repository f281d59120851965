"""`aiadmin service`, with service managers that write down what they are told."""

import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")


@pytest.fixture
def systemctl(echo, tmp_path):
    """A home of its own, and a `systemctl` that notes its arguments and does what the file `answer` says."""
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "systemctl"
    script.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/told\nexit $(cat {tmp_path}/answer 2>/dev/null || echo 0)\n')
    script.chmod(0o755)
    echo |= {"HOME": str(tmp_path), "PATH": f"{tools}:{echo['PATH']}"}
    echo.pop("XDG_CONFIG_HOME", None)
    return tmp_path


def told(folder):
    return (folder / "told").read_text().splitlines() if (folder / "told").exists() else []


def test_a_dry_run_shows_everything_and_does_nothing(aiadmin_process, systemctl):
    done = aiadmin_process("service", "install", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith("[Unit]")
    assert 'Environment="AIADMIN_PLUGINS=clecho"' in done.stdout
    assert "systemctl --user enable --now aiadmin.service" in done.stderr
    assert not (systemctl / ".config").exists()
    assert told(systemctl) == []


def test_a_service_is_installed_asked_for_and_removed(aiadmin_process, systemctl):
    unit = systemctl / ".config" / "systemd" / "user" / "aiadmin.service"
    assert aiadmin_process("service", "status").stdout == "not installed\n"
    assert aiadmin_process("service", "install").returncode == 0
    assert unit.read_text().startswith("[Unit]")
    assert told(systemctl) == ["--user daemon-reload", "--user enable --now aiadmin.service"]
    assert aiadmin_process("service", "status").stdout == "running\n"
    (systemctl / "answer").write_text("3")
    status = aiadmin_process("service", "status")
    assert (status.returncode, status.stdout) == (1, "installed, not running\n")
    assert aiadmin_process("service", "uninstall").returncode == 0
    assert not unit.exists()
    gone = aiadmin_process("service", "uninstall")
    assert (gone.returncode, "There is no service" in gone.stderr) == (1, True)


def test_what_the_manager_refuses_is_said(aiadmin_process, systemctl):
    (systemctl / "answer").write_text("1")
    done = aiadmin_process("service", "install")
    assert done.returncode == 1
    assert "`systemctl --user daemon-reload` failed" in done.stderr
