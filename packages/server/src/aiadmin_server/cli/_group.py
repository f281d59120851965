"""`aiadmin` itself: finds verbs, ours from a table and plugins' by their hook, and imports the one that is used."""

import difflib
from collections.abc import Mapping
from importlib import import_module

import click

from aiadmin_core.errors import PluginError

from .. import __version__
from ._errors import handled
from ._verb import with_debug
from ._verbs import MEANT, SAME, VERBS


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every verb, ours first. Looks plugins up."""
        return [*VERBS, *(verb for verb in plugin_verbs() if verb not in VERBS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or None. Plugins are looked up for words that are no verb of ours."""
        if cmd_name in VERBS:
            return _load(f"{__package__}.{cmd_name}:command")
        if cmd_name.startswith("-"):
            return None
        plugin, target = plugin_verbs().get(cmd_name, ("", ""))
        if target:
            return _load_of_plugin(plugin, cmd_name, target)
        return self.get_command(ctx, SAME[cmd_name]) if cmd_name in SAME else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the verb that was meant in the complaint, else the nearest."""
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            near = difflib.get_close_matches(word.lower(), self.list_commands(ctx), n=1, cutoff=0.5)
            meant = MEANT.get(word.lower()) or next(iter(near), "")
            ctx.fail(f"There is no verb '{word}'." + (f" Did you mean '{meant}'?" if meant else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The table of verbs, nothing imported but plugins' entry points."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))
        added = [(verb, f"from {plugin}") for verb, (plugin, _) in plugin_verbs().items() if verb not in VERBS]
        if added:
            with formatter.section("Verbs of plugins"):
                formatter.write_dl(added)

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; what it raises becomes a sentence and an exit status."""
        with handled(ctx):
            return super().invoke(ctx)


def plugin_verbs() -> Mapping[str, tuple[str, str]]:
    """Verb -> its plugin and "package.module:attribute"; the plugin loaded first has a contested verb."""
    from ._plugins import installed_plugins

    verbs: dict[str, tuple[str, str]] = {}
    for plugin, (verb, target) in installed_plugins().contributions("aiadmin_cli_commands"):
        verbs.setdefault(verb, (plugin, target))
    return verbs


def _load_of_plugin(plugin: str, verb: str, target: str) -> click.Command:
    """Raises `PluginError` where `target` is not there, or no command."""
    from aiadmin_core.plugins import HARM, error_text

    try:
        return _load(target)
    except HARM as error:
        message = f"The plugin '{plugin}' has no verb '{verb}' at {target}: {error_text(error)}."
        raise PluginError(message, hint="Upgrade or mend the plugin.") from error


def _load(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    command = getattr(import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise TypeError(f"it is {type(command).__name__}, not a click command")
    return command


@with_debug
@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB ...",
    epilog="`aiadmin VERB --help` says more. Settings are AIADMIN_* variables: AIADMIN_HOST, AIADMIN_MODELS, ...",
)
@click.version_option(__version__, prog_name="aiadmin")
def aiadmin() -> None:
    """Local language models behind OpenAI's API.

    \b
    aiadmin pull smollm2                 fetch a small model
    aiadmin run smollm2 "Tell me a joke" ask it something
    aiadmin serve                        serve it on http://localhost:11434/v1
    """
