"""`aiadmin logs`: what the server and the processes of its models wrote, from the files on this machine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from ._verb import verb

POLL_S = 0.25
BLOCK_BYTES = 64 * 1024


@verb
@click.argument("model", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from here on; Ctrl-C ends it.")
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(0), help="Lines to show of each log.")
@click.option("--path", "paths_only", is_flag=True, help="Print where the logs are instead.")
def command(model: str | None, follow: bool, lines: int, paths_only: bool) -> None:
    """Show the server's log, or that of a model's process.

    The server writes what it decides and every request (who, which model, how long; never what was said), models'
    processes what the libraries in them say.
    """
    from aiadmin_core.errors import AiAdminError

    from ..runners.log import LOGS
    from ..settings import load_settings

    folder = load_settings().state / LOGS
    found = logs_of(folder, model)
    if not found:
        wrote = f"No process of a model called '{model}' has" if model else "No server has"
        known = ", ".join(sorted(path.name for path in folder.glob("*.log")))
        hint = f"There are: {known}." if known else "`aiadmin serve` writes one."
        raise AiAdminError(f"{wrote} written a log in {folder} yet.", hint=hint)
    if paths_only:
        for path in found:
            click.echo(str(path))
        return
    for path in found:
        if len(found) > 1:
            click.echo(f"==> {path.name} <==")
        for line in last_lines(path, lines):
            click.echo(line)
    if follow:
        for line in followed(found[-1]):
            click.echo(line)


def logs_of(folder: Path, model: str | None) -> list[Path]:
    """The server's log, or those of the processes of a model, the latest written last."""
    from ..logs import SERVER_LOG
    from ..runners.supervisor import log_name

    if model is None:
        return [path for path in [folder / SERVER_LOG] if path.is_file()]
    wanted = {log_name("*", name) for name in (model, f"{model}:latest")}
    found = {path for pattern in wanted for path in folder.glob(pattern)}
    return sorted(found, key=lambda path: path.stat().st_mtime)


def last_lines(path: Path, n: int) -> list[str]:
    """The last `n` lines, read from the end."""
    data = b""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        while position and data.count(b"\n") <= n:
            step = min(BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
    return [_shown(line) for line in data.splitlines()[-n:]] if n else []


def followed(path: Path) -> Iterator[str]:
    """Lines as they are written, also once the file was set aside and begun anew. Never ends."""
    file = path.open("rb")
    try:
        file.seek(0, 2)
        rest = b""
        while True:
            *whole, rest = (rest + file.read()).split(b"\n")
            yield from map(_shown, whole)
            try:
                begun_anew = not os.path.samestat(path.stat(), os.fstat(file.fileno()))
            except FileNotFoundError:
                begun_anew = False
            if begun_anew:
                file.close()
                file, rest = path.open("rb"), b""
            elif not whole:
                time.sleep(POLL_S)
    finally:
        file.close()


def _shown(line: bytes) -> str:
    from ._answer import visible

    return visible(line.decode("utf-8", "replace"))
