"""What goes wrong becomes a sentence on stderr and an exit status; a traceback only with `--debug`."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from aiadmin_core.errors import AiAdminError

from ._verb import DEBUG

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""


@contextmanager
def handled(ctx: click.Context) -> Iterator[None]:
    """Turn what the block raises into `click.exceptions.Exit`. Click's own exceptions pass: they know how to show
    themselves, and misuse exits with 2."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    except Exception as error:
        if ctx.meta.get(DEBUG) or debug_in_environment():
            traceback.print_exc()
        else:
            click.echo(sentence(error), err=True)
        raise click.exceptions.Exit(1) from None


def sentence(error: Exception) -> str:
    """What happened and what to do next."""
    if isinstance(error, AiAdminError):
        return f"Error: {error.message}" + (f"\n{error.hint}" if error.hint else "")
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"Error: {error.strerror}{where}"
    return f"Error: {type(error).__name__}: {error}\nThis is a bug in AiAdmin or a plugin; --debug shows where."


def debug_in_environment() -> bool:
    """Whether AIADMIN_DEBUG is on, read without `settings`: they may be what cannot be read."""
    return os.environ.get("AIADMIN_DEBUG", "").strip().lower() not in ("", "0", "false", "no", "off")
