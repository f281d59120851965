"""What every verb shares: `--debug` after the verb as before it, and `--json` where there is something to print."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)
DEBUG = "aiadmin_server.debug"
"""Key in the root context's `meta`: whether `--debug` was given."""


def _note_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    if value:
        ctx.meta[DEBUG] = True


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_note_debug, help="Show tracebacks of failures."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def verb(function: Callable[..., Any]) -> click.Command:
    """Make a verb's command of its function; its help is the function's docstring."""
    return click.command()(debug_option(function))
