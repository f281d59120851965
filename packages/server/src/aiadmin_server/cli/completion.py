"""`aiadmin completion`: what a shell needs to complete verbs, options and the names of models."""

import click

from ._verb import verb


@verb
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what completes verbs, options and models in a shell.

    \b
    eval "$(aiadmin completion bash)"       in ~/.bashrc
    eval "$(aiadmin completion zsh)"        in ~/.zshrc
    aiadmin completion fish > ~/.config/fish/completions/aiadmin.fish
    """
    from click.shell_completion import get_completion_class

    from ._group import aiadmin

    completion = get_completion_class(shell)
    assert completion is not None  # click's own three
    click.echo(completion(aiadmin, {}, "aiadmin", "_AIADMIN_COMPLETE").source())
