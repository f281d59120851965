"""`aiadmin man`: the manual page."""

import click

from ._verb import verb


@verb
def command() -> None:
    """Print the manual page.

    \b
    aiadmin man | man -l -
    aiadmin man > ~/.local/share/man/man1/aiadmin.1
    """
    from .. import __version__
    from ._group import aiadmin
    from ._man import page

    click.echo(page(aiadmin, __version__), nl=False)
