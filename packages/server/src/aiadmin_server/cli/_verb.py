"""What every verb shares: `--debug` after the verb as before it, and `--json` where there is something to print."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

AnyCommand = TypeVar("AnyCommand", bound=click.Command)
DEBUG = "aiadmin_server.debug"
"""Key in the contexts' `meta`: whether `--debug` was given."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_debug(command: AnyCommand) -> AnyCommand:
    """Let a command take `--debug`, after its own options."""
    option = click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_note_debug, help="Show tracebacks of failures."
    )
    command.params.append(option)
    return command


def verb(function: Callable[..., Any]) -> click.Command:
    """Make a verb's command of its function; its help is the function's docstring."""
    return with_debug(click.command()(function))


def _note_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    if value:
        ctx.meta[DEBUG] = True
