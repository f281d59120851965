"""`aiadmin service`: the server started by the system, for whoever calls this."""

import os
import subprocess
import sys
from pathlib import Path

import click

from aiadmin_core.errors import AiAdminError

from ._verb import with_debug


class ServiceFailed(AiAdminError):
    """The system's service manager is not there, or refused."""

    code = "service_failed"


@with_debug
@click.group()
def command() -> None:
    """Let the system start the server.

    As a service of yours: with systemd on Linux, with launchd on macOS. It is started with your session, and again
    should it fail.

    \b
    aiadmin service install --dry-run
    """


@with_debug
@command.command("install")
@click.option("--dry-run", is_flag=True, help="Print the file, and what would be done, and do nothing.")
def install(dry_run: bool) -> None:
    """Write the service's file and start it.

    AIADMIN_* variables that are set now are written into it, but for keys and passwords; those belong in the settings
    file (`aiadmin config set`), which nobody else may read.
    """
    from ._output import remark

    path, content, commands = _plan()
    if dry_run:
        click.echo(content.decode())
        remark(f"This would be written to {path}, then:")
        for words in commands:
            remark(f"  {' '.join(words)}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for words in commands:
        _tell(words)
    remark(f"AiAdmin is a service now: {path}. `aiadmin service status` says how it is, `aiadmin logs` what it does.")
    if sys.platform.startswith("linux"):
        remark("It runs while you are logged in; `loginctl enable-linger` keeps it running without you.")


@with_debug
@command.command("uninstall")
def uninstall() -> None:
    """Stop the service and remove its file. Models and settings stay."""
    from ..service import LAUNCHD_LABEL, SYSTEMD_NAME
    from ._output import remark

    path = _plan()[0]
    if not path.exists():
        raise ServiceFailed(f"There is no service: {path} does not exist.", hint="`aiadmin service install` makes it.")
    if sys.platform == "darwin":
        _tell(["launchctl", "bootout", f"gui/{os.getuid()}/{LAUNCHD_LABEL}"], may_fail=True)
    else:
        _tell(["systemctl", "--user", "disable", "--now", SYSTEMD_NAME], may_fail=True)
    path.unlink()
    remark(f"Removed {path}.")


@with_debug
@command.command("status")
@click.pass_context
def status(ctx: click.Context) -> None:
    """Say whether the service is there and running. Exits with 1 where it is not."""
    from ..service import LAUNCHD_LABEL, SYSTEMD_NAME

    path = _plan()[0]
    if not path.exists():
        click.echo("not installed")
        ctx.exit(1)
    words = (
        ["launchctl", "print", f"gui/{os.getuid()}/{LAUNCHD_LABEL}"]
        if sys.platform == "darwin"
        else ["systemctl", "--user", "is-active", SYSTEMD_NAME]
    )
    running = _tell(words, may_fail=True) == 0
    click.echo("running" if running else "installed, not running")
    ctx.exit(0 if running else 1)


def _plan() -> tuple[Path, bytes, list[list[str]]]:
    """The file, what is in it, and what the manager is told. Raises `ServiceFailed` where there is no such manager."""
    from ..runners.log import LOGS
    from ..service import LAUNCHD_LABEL, SYSTEMD_NAME, carried, launchd_plist, systemd_unit
    from ..settings import load_settings

    settings = load_settings()
    start = [sys.executable, "-P", "-m", "aiadmin_server", "serve"]
    environment = carried(os.environ)
    if sys.platform == "darwin":
        path = Path.home() / "Library" / "LaunchAgents" / f"{LAUNCHD_LABEL}.plist"
        content = launchd_plist(start, environment, log=settings.state / LOGS / "service.log")
        return path, content, [["launchctl", "bootstrap", f"gui/{os.getuid()}", str(path)]]
    if sys.platform.startswith("linux"):
        base = os.environ.get("XDG_CONFIG_HOME", "")
        folder = Path(base) if base else Path.home() / ".config"
        path = folder / "systemd" / "user" / SYSTEMD_NAME
        told = [["systemctl", "--user", "daemon-reload"], ["systemctl", "--user", "enable", "--now", SYSTEMD_NAME]]
        return path, systemd_unit(start, environment).encode(), told
    raise ServiceFailed(
        "There is no service for this system here.",
        hint="On Windows, let the Task Scheduler run `aiadmin serve` when you log on.",
    )


def _tell(words: list[str], *, may_fail: bool = False) -> int:
    """Run a command of the service manager. Raises `ServiceFailed`."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours
    except (OSError, subprocess.TimeoutExpired) as error:
        if may_fail:
            return 1
        raise ServiceFailed(f"`{' '.join(words)}` cannot be run: {error}.", hint="Is it this system's?") from None
    if done.returncode and not may_fail:
        raise ServiceFailed(f"`{' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.returncode
