"""`aiadmin help`: what `--help` shows, asked for in words."""

import click

from ._verb import verb


@verb
@click.argument("words", nargs=-1, metavar="[VERB]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show what a verb does.

    \b
    aiadmin help run
    aiadmin help alias set
    """
    shown = ctx.find_root()
    for word in words:
        if not isinstance(shown.command, click.Group):
            ctx.fail(f"'{shown.command_path}' has no '{word}': `aiadmin help {shown.info_name}` shows all of it.")
        name, command, _ = shown.command.resolve_command(shown, [word])
        assert command is not None  # what is none was refused
        shown = click.Context(command, info_name=name, parent=shown)
    click.echo(shown.get_help(), color=ctx.color)
