"""The server as a service of a user's session: the files that systemd and launchd read. Pure; `cli/service` writes them
and tells the managers."""

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .settings import SECRETS

SYSTEMD_NAME = "aiadmin.service"
LAUNCHD_LABEL = "ai.aiadmin.server"
STOP_S = 30
"""How long running requests may take to end: more than the server itself gives them."""


def systemd_unit(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """A user unit, as systemd.service(5) and systemd.syntax(7) have it."""
    lines = [
        "[Unit]",
        "Description=AiAdmin, local language models behind OpenAI's API",
        "After=network.target",
        "",
        "[Service]",
        f"ExecStart={' '.join(map(_quoted, command))}",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in environment.items()),
        "Delegate=memory",  # runners get groups of their own: `runners.control_groups`
        "Restart=on-failure",
        "RestartSec=3",
        f"TimeoutStopSec={STOP_S}",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def launchd_plist(command: Sequence[str], environment: Mapping[str, str], *, log: Path) -> bytes:
    """A user agent, as launchd.plist(5) has it."""
    entries = {
        "Label": LAUNCHD_LABEL,
        "ProgramArguments": list(command),
        "EnvironmentVariables": dict(environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": STOP_S,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
    }
    return plistlib.dumps(entries)


def carried(environ: Mapping[str, str]) -> dict[str, str]:
    """Of an environment, what the service is to have as well: it starts without the shell's."""
    found = {name.upper(): value for name, value in environ.items() if name.upper().startswith("AIADMIN_") and value}
    return {name: value for name, value in sorted(found.items()) if name not in SECRETS}


def _quoted(word: str) -> str:
    """A word that systemd reads as it is."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return f'"{escaped}"'
